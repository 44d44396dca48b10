"""Two models side by side: each task at each size, measured and written down one by one."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch

from ..apis import UserError
from ..apis.checks import check_checkpoint
from ..apis.complexity import complexity_of
from . import machine
from .inputs import Size
from .memory import OutOfMemory, can_measure, task_memory
from .parts import time_parts
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
_DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


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
        dtype: With 'bfloat16' the first model under autocast is set beside itself in float32, and
            the second is not used.
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
    dtype: str = 'float32'

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
        if self.dtype not in _DTYPES:
            raise UserError(f'--dtype must be of {", ".join(_DTYPES)}, got {self.dtype}')
        if self.first.checkpoint is not None:
            check_checkpoint(self.first.checkpoint)
        for name in self.tasks:
            if self.dtype != 'float32' and not (
                TASKS[name].inference and TASKS[name].class_maps is not Task.class_maps
            ):
                raise UserError(f'--dtype {self.dtype} is for predict and segmentor, not {name}')
            for subject in self.pair(name):
                TASKS[name].check(subject, self.sizes)

    def pair(self, task: str) -> tuple[Subject, Subject]:
        """The two that are set side by side in a task."""
        if self.dtype != 'float32':
            half = self.first._replace(name=f'{self.first.name}, {self.dtype}', dtype=self.dtype)
            return half, self.first
        if task == 'decoder':
            return self.first, self.first._replace(name='literal formulas', literal=True)
        return self.first, self.second


def check_sizes(sizes: Sequence[Size], option: str = '--size') -> None:
    """Raises UserError, which names the option, unless all are large enough for a backbone."""
    for size in sizes:
        if min(size) < _SMALLEST:
            raise UserError(f'{option} must be at least {_SMALLEST}, got {size[0]} x {size[1]}')


def check_device(device: str) -> None:
    """Raises UserError unless the device is one that can be measured and is there."""
    if device not in ('cpu', 'cuda'):
        raise UserError(f'--device must be cpu or cuda, got {device}')
    if device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: PyTorch finds no GPU here')


def compare(plan: Plan, report: Report) -> None:
    """Measures everything that is planned; every result is written at once.

    Args:
        plan: A checked plan.
        report: Where the results go.
    """
    ignore_noise()
    torch.set_num_threads(plan.threads)
    rate = machine.matmul_rate(plan.device, _DTYPES[plan.dtype])
    report.describe(
        machine=machine.describe(plan.device, plan.threads),
        matmul_flops=rate,
        copy_bytes=machine.copy_bandwidth(plan.device),
        dtype=plan.dtype,
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
    row = dict(task=name, size=list(size), names=[subject.name for subject in pair])
    if report.results['memory']:
        try:
            row['memory'] = [
                task_memory(subject, name, size, plan.batch, plan.device, plan.threads)
                for subject in pair
            ]
        except OutOfMemory as error:
            report.add('rows', {**row, 'skipped': str(error)})
            return
    tasks = [TASKS[name](subject, subject.build(plan.device)) for subject in pair]
    inputs = [task.inputs(size, plan.batch) for task in tasks]
    runs = [partial(task, x) for task, x in zip(tasks, inputs, strict=True)]
    row['seconds'] = interleave(runs, plan.repeats, plan.device)
    if plan.dtype != 'float32':
        first, second = (task.class_maps(run()) for task, run in zip(tasks, runs, strict=True))
        row['changed'] = (first != second).double().mean().item()
    report.add('rows', row)
    if name in _WITH_PARTS:
        repeats = min(plan.repeats, 3)
        parts = time_parts(tasks, inputs, repeats, plan.device)
        report.add('parts', dict(task=name, size=list(size), names=row['names'], seconds=parts))
    if name in _WITH_FLOPS:
        flops = [flops_of(subject, name, size, plan.batch) for subject in pair]
        report.add('flops', dict(task=name, size=list(size), names=row['names'], flops=flops))


def flops_of(subject: Subject, task: str, size: Size, batch: int) -> int:
    """FLOPs of 'predict' or 'segmentor', a multiply-add as two."""
    complexity = complexity_of(subject.cfg, size)
    outside = 0 if task == 'segmentor' else complexity.parts['backbone'].flops
    return 2 * batch * (complexity.flops - outside)
