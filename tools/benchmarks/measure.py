"""What is measured: time of a run and of a model's parts, and how fast the machine multiplies."""

import os
import platform
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from mmseg_faseg.apis.complexity import parts_of

from .tasks import Task

Run = Callable[[], object]

# Rounds. On a GPU cuDNN chooses kernels in the first; the second records CUDA graphs.
_WARM_UP = {'cpu': 1, 'cuda': 3}


def take_turns(runs: Sequence[Run], repeats: int, device: str = 'cpu') -> list[list[float]]:
    """Times several things in the order A B A B ..., so that a slow minute meets all of them.

    Args:
        runs: The things; they run a few times before, to warm up.
        repeats: How often each is timed.
        device: Where they run; on 'cuda' events are timed.

    Returns:
        Seconds of each thing.
    """
    for _ in range(_WARM_UP[device]):
        for run in runs:
            run()
    seconds = [[] for _ in runs]
    for _ in range(repeats):
        for run, own in zip(runs, seconds, strict=True):
            own.append(seconds_of(run, device))
    return seconds


def seconds_of(run: Run, device: str = 'cpu') -> float:
    """Seconds of one run, from an idle device to an idle device."""
    if device == 'cpu':
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def seconds_by_part(
    tasks: Sequence[Task], inputs: Sequence[object], repeats: int
) -> list[dict[str, float]]:
    """Median seconds of each part of some models, which take turns.

    Args:
        tasks: 'segmentor' or 'iteration' of each model.
        inputs: What each takes.
        repeats: How often each is timed.

    Returns:
        By part, in order: backbone, pixel decoder, transformer decoder, what is left of the forward
        pass, for training backward and step, and the whole. The transformer decoder of
        ``FASegHead`` includes the small masks that guide its attention; ``Mask2FormerHead`` makes
        its own outside.
    """
    runs = [
        [_one_run_by_part(*pair) for pair in zip(tasks, inputs, strict=True)]
        for _ in range(repeats)
    ]
    return [
        {part: statistics.median(run[part] for run in own) for part in own[0]}
        for own in zip(*runs, strict=True)
    ]


def _one_run_by_part(task: Task, inputs: object) -> dict[str, float]:
    seconds, started, depth = Counter(), {}, Counter()

    def now() -> float:
        if task.device.type == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter()

    def enter(part: str, *_) -> None:
        if not depth[part]:
            started[part] = now()
        depth[part] += 1

    def leave(part: str, *_) -> None:
        depth[part] -= 1
        if not depth[part]:  # the outermost call of a part
            seconds[part] += now() - started[part]

    def backward(result: object) -> object:
        started['backward'] = now()
        return type(task).backward(task, result)

    parts = parts_of(task.model)
    with ExitStack() as stack:
        for part, names in parts.items():
            for name, module in task.model.named_modules():
                if name.startswith(names):
                    hooks = (
                        module.register_forward_pre_hook(partial(enter, part)),
                        module.register_forward_hook(partial(leave, part), always_call=True),
                    )
                    for hook in hooks:
                        stack.callback(hook.remove)
        task.backward = backward
        stack.callback(delattr, task, 'backward')
        start = now()
        task(inputs)
        end = now()
    by_part = {part: seconds[part] for part in parts}
    known = sum(by_part.values())
    if task.inference:
        return {**by_part, 'prediction': end - start - known, 'whole': end - start}
    rest = started['backward'] - start - known
    step = end - started['backward']
    return {
        **by_part,
        'prediction and losses': rest,
        'backward and step': step,
        'whole': end - start,
    }


def matrix_rate(device: str, dtype: torch.dtype, repeats: int = 7) -> float:
    """FLOP/s of the best of several products of square matrices, as linear layers make them.

    A multiply-add is two. Of the largest matrices that do not take half a second: a processor
    without bfloat16 instructions multiplies such numbers a hundred times slower.
    """
    rate = 0.0
    for size in (256, 1024, 2048, 8192):
        if rate and 2 * size**3 / rate > 0.5:
            break
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        product = partial(F.linear, a, b)
        product()
        best = min(seconds_of(product, device) for _ in range(repeats))
        rate = max(rate, 2 * size**3 / best)
    return rate


def describe_machine(device: str) -> dict[str, str]:
    """Processor, threads and versions, as a table shows them."""
    cpuinfo = _read('/proc/cpuinfo')
    keys = ('model name', 'cpu family', 'model')
    found = [re.search(rf'^{key}\s*:\s*(.+)$', cpuinfo, re.MULTILINE) for key in keys]
    name, family, model = (match[1] if match else 'unknown' for match in found)
    machine = {
        'processor': f'{name} (family {family}, model {model})',
        'cores': f'{os.cpu_count()}, threads used: {torch.get_num_threads()}',
        'system': f'{platform.system()} {platform.machine()}, Python {platform.python_version()}',
        'PyTorch': torch.__version__,
    }
    if device == 'cuda':
        gpu = torch.cuda.get_device_properties(0)
        machine['GPU'] = (
            f'{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute capability '
            f'{gpu.major}.{gpu.minor}, {gpu.multi_processor_count} multiprocessors, '
            f'CUDA {torch.version.cuda}'
        )
    return machine


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ''
