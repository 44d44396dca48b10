"""Two models side by side: each task at each size, measured and written down one by one."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from ..apis import UserError
from ..apis.complexity import complexity_of
from ..apis.gpus import check_gpu
from ..checkpoints.read import check_checkpoint
from . import machine
from .inputs import Size
from .memory import OutOfMemory, can_measure, task_memory
from .parts import time_parts
from .precision import ON_CPU, PRECISIONS
from .report import Report
from .subjects import Subject, ignore_noise
from .task import Task
from .tasks import TASKS
from .timing import interleave

# Below this a backbone's last map vanishes.
_SMALLEST = 32
# Tasks whose parts are timed, and those whose FLOPs are known.
_WITH_PARTS = ('segmentor', 'iteration')
_WITH_FLOPS = ('predict', 'segmentor')


class Plan(NamedTuple):
    """What is to be measured.

    Attributes:
        first: The model whose ratios to the second are reported.
        second: The other.
        tasks: Names of tasks.
        sizes: (H, W) of the images in pixels.
        batch: Number of images.
        device: 'cpu' or 'cuda'.
        threads: Of the CPU.
        repeats: Timed runs of each.
        memory: Whether to measure memory.
    """

    first: Subject
    second: Subject
    tasks: Sequence[str]
    sizes: Sequence[Size]
    batch: int = 1
    device: str = 'cpu'
    threads: int = 2
    repeats: int = 7
    memory: bool = True

    def check(self) -> None:
        """Checks all that can be known before anything is measured.

        Raises:
            UserError: Something cannot be measured.
        """
        for name in ('batch', 'threads', 'repeats'):
            if getattr(self, name) < 1:
                raise UserError(f'--{name} must be at least 1, got {getattr(self, name)}')
        unknown = [task for task in self.tasks if task not in TASKS]
        if unknown:
            raise UserError(f'--tasks must be of {", ".join(TASKS)}, got {", ".join(unknown)}')
        check_sizes(self.sizes)
        check_device(self.device)
        for subject in (self.first, self.second):
            check_precision(subject.precision, self.device)
        if self.first.checkpoint is not None:
            check_checkpoint(self.first.checkpoint)
        for name in self.tasks:
            for subject in self.pair(name):
                TASKS[name].check(subject, self.sizes)

    def pair(self, task: str) -> tuple[Subject, Subject]:
        """The two that are set side by side in a task."""
        if task == 'decoder':
            return self.first, self.first._replace(name='literal formulas', literal=True)
        return self.first, self.second


def check_sizes(sizes: Sequence[Size], option: str = '--size') -> None:
    """Raises UserError, which names the option, unless all are large enough for a backbone."""
    for size in sizes:
        if min(size) < _SMALLEST:
            raise UserError(f'{option} must be at least {_SMALLEST}, got {size[0]} x {size[1]}')


def check_precision(precision: str, device: str) -> None:
    """Raises UserError unless there is such a precision on the device."""
    known = PRECISIONS if device != 'cpu' else ON_CPU
    if precision not in known:
        raise UserError(f'--precision on {device} must be of {", ".join(known)}, got {precision}')


def check_device(device: str) -> None:
    """Raises UserError unless the device is one that can be measured and is there."""
    if device not in ('cpu', 'cuda'):
        raise UserError(f'--device must be cpu or cuda, got {device}')
    if device == 'cuda':
        check_gpu()


def compare(plan: Plan, report: Report) -> None:
    """Measures everything that is planned; every result is written at once.

    Args:
        plan: A checked plan.
        report: Where the results go.
    """
    ignore_noise()
    torch.set_num_threads(plan.threads)
    rates = {}
    for subject in (plan.first, plan.second):
        precision = PRECISIONS[subject.precision]
        with precision.float32_products():
            rates[subject.precision] = machine.matmul_rate(plan.device, precision.dtype)
    report.describe(
        machine=machine.describe(plan.device, plan.threads),
        matmul_flops=rates,
        copy_bytes=machine.copy_bandwidth(plan.device),
        batch=plan.batch,
        device=plan.device,
        memory=plan.memory and can_measure(plan.device),
    )
    for name in plan.tasks:
        for size in plan.sizes:
            _measure(plan, name, size, report)


def _measure(plan: Plan, name: str, size: Size, report: Report) -> None:
    """One task at one size: memory first, in processes that may die of it, then time."""
    pair = plan.pair(name)
    row = dict(
        task=name,
        size=list(size),
        names=[subject.name for subject in pair],
        precisions=[subject.precision for subject in pair],
    )
    if plan.device != 'cpu':
        torch.cuda.empty_cache()  # for the processes that memory is measured in
    try:
        if report.results['memory']:
            row['memory'] = [_memory_of(plan, subject, name, size, plan.batch) for subject in pair]
        parts = _time(plan, name, size, pair, row)
    except OutOfMemory as error:
        report.add('rows', {**row, 'skipped': f'{error}{_what_fits(plan, pair, name, size)}'})
        return
    except torch.OutOfMemoryError:
        report.add('rows', {**row, 'skipped': 'both models at once need more than the GPU has'})
        return
    report.add('rows', row)
    if parts is not None:
        report.add('parts', dict(task=name, size=list(size), names=row['names'], seconds=parts))
    if name in _WITH_FLOPS:
        flops = [flops_of(subject, name, size, plan.batch) for subject in pair]
        report.add('flops', dict(task=name, size=list(size), names=row['names'], flops=flops))


def _time(
    plan: Plan, name: str, size: Size, pair: tuple[Subject, Subject], row: dict[str, Any]
) -> list[dict[str, float]] | None:
    """Adds to the row what running the two in turn gives; returns the parts' seconds, if known."""
    tasks = [TASKS[name](subject, subject.build(plan.device)) for subject in pair]
    inputs = [task.inputs(size, plan.batch) for task in tasks]
    runs = [partial(task, x) for task, x in zip(tasks, inputs, strict=True)]
    row['seconds'] = interleave(runs, plan.repeats, plan.device)
    same_model = pair[0].cfg.filename == pair[1].cfg.filename
    if same_model and TASKS[name].class_maps is not Task.class_maps:
        first, second = (task.class_maps(run()) for task, run in zip(tasks, runs, strict=True))
        row['changed'] = (first != second).double().mean().item()
    if name in _WITH_PARTS and not pair[0].has_cuda_graphs:  # a replay has no parts
        return time_parts(tasks, inputs, min(plan.repeats, 3), plan.device)
    return None


def _what_fits(plan: Plan, pair: tuple[Subject, Subject], name: str, size: Size) -> str:
    """Says which batch should fit: memory grows by as much with every image."""
    if plan.batch == 1:
        return '; not even one image fits'
    free = machine.available_memory(plan.device)
    counts = []
    try:
        for subject in pair:
            one, two = (_memory_of(plan, subject, name, size, batch) for batch in (1, 2))
            counts.append(1 + int((free - one) / max(two - one, 1)))
    except OutOfMemory:
        return '; at most one image fits'
    return f'; a batch of {min(*counts, plan.batch - 1)} should fit'


def _memory_of(plan: Plan, subject: Subject, task: str, size: Size, batch: int) -> int:
    """Bytes that a task of a plan adds at its peak; see :func:`task_memory`."""
    return task_memory(subject, task, size, batch, plan.device, plan.threads)


def flops_of(subject: Subject, task: str, size: Size, batch: int) -> int:
    """FLOPs of 'predict' or 'segmentor', a multiply-add as two."""
    complexity = complexity_of(subject.cfg, size)
    outside = 0 if task == 'segmentor' else complexity.parts['backbone'].flops
    return 2 * batch * (complexity.flops - outside)
