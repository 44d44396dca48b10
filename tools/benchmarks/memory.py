"""Peak memory of one run of a task, above what was there before it."""

import ctypes
import gc
import multiprocessing
import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from unittest.mock import patch

import torch

from .models import MeasuredModel
from .tasks import TASKS, Size

# glibc then takes tensors from the system one by one and gives them back when they are freed, so
# that resident memory follows them; with its defaults freed memory stays with the process.
ALLOCATOR = {'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536'}
_STATUS = Path('/proc/self/status')
_CLEAR_REFS = Path('/proc/self/clear_refs')
# What makes code, buffers and thread pools resident that have nothing to do with the size.
_TINY = (64, 64)


class OutOfMemory(RuntimeError):  # noqa: N818  it is what happened, as torch.OutOfMemoryError
    """The process was killed while it was measured."""


def can_measure(device: str) -> bool:
    """Whether memory can be measured here: with CUDA, or where Linux counts it."""
    if device == 'cuda':
        return True
    try:
        _CLEAR_REFS.write_text('5')
    except OSError:
        return False
    return 'VmHWM' in _STATUS.read_text()


def task_memory(
    measured: MeasuredModel, task: str, size: Size, batch: int, device: str, threads: int
) -> int:
    """Bytes that a run of a task adds at its peak, in a process of its own.

    Weights, inputs and optimiser state are there before and do not count; gradients, results and
    everything in between do.

    Args:
        measured: The model.
        task: Name of the task.
        size: (H, W) of the image in pixels.
        batch: Number of images.
        device: 'cpu', where growth of resident memory is measured, or 'cuda', where allocated
            memory is.
        threads: Of the CPU.

    Raises:
        OutOfMemory: The process did not survive.
    """
    context = multiprocessing.get_context('spawn')
    with patch.dict(os.environ, ALLOCATOR), ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_measure, measured, task, size, batch, device, threads).result()
        except BrokenProcessPool:
            raise OutOfMemory(f'{measured.name} was killed, probably for want of memory') from None


def peak_memory(run: Callable[[], object], device: str) -> int:
    """Bytes that ``run`` adds at its peak to what this process has.

    On a CPU right only in a process started with ``ALLOCATOR`` in its environment.
    """
    gc.collect()
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)
    _CLEAR_REFS.write_text('5')  # the peak starts anew
    before = _resident('VmRSS')
    run()
    return _resident('VmHWM') - before


def _measure(
    measured: MeasuredModel, name: str, size: Size, batch: int, device: str, threads: int
) -> int:
    torch.set_num_threads(threads)
    model = measured.cfg.model
    # The second run records CUDA graphs, whose memory stays.
    runs = 3 if model.get('cuda_graphs') else 1
    try:
        task = TASKS[name](measured, measured.build(device))
        task(task.inputs(_TINY, batch))
        inputs = task.inputs(size, batch)
        if task.head_cfg.get('pixel_decoder', {}).get('deformable_backend') == 'compiled':
            task(inputs)  # compiles for this size
        task.model.zero_grad()  # gradients count, and there are some already
        return peak_memory(lambda: [task(inputs) for _ in range(runs)], device)
    except torch.OutOfMemoryError:
        raise OutOfMemory(f'{measured.name} needs more memory than the GPU has') from None


def _resident(key: str) -> int:
    return int(re.search(rf'^{key}:\s*(\d+) kB', _STATUS.read_text(), re.MULTILINE)[1]) * 1024
