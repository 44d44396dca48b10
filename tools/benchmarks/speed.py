"""Measures time and peak memory of two models side by side, on random weights and same inputs."""

import argparse
import gc
import shlex
import sys
from functools import partial
from typing import Any

import torch

from mmseg_faseg.apis import UserError, add_options, one_line_errors
from mmseg_faseg.apis.complexity import complexity_of

from .measure import describe_machine, matrix_rate, seconds_by_part, take_turns
from .memory import OutOfMemory, can_measure, task_memory
from .models import (
    DEFAULT_CONFIGS,
    PRECISIONS,
    MeasuredModel,
    check_device,
    check_sizes,
    head_name,
    measured_model,
)
from .results import Report, at_least, check_folder
from .speed_tables import markdown, ratio, size_in_words
from .tasks import TASKS, Size

Pair = tuple[MeasuredModel, MeasuredModel]


def add_models(parser: argparse.ArgumentParser) -> None:
    """Gives a command the two models."""
    for name, default, text in zip(
        ('config', 'other'),
        DEFAULT_CONFIGS,
        ('config file, or PACKAGE::NAME.py for an installed one', 'what it is compared with'),
        strict=True,
    ):
        parser.add_argument(name, nargs='?', default=default, help=f'{text} (default: {default})')


def add_conditions(parser: argparse.ArgumentParser, out: str, repeats: int) -> None:
    """Gives a command what all measurements share."""
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--repeats', type=int, default=repeats, help='default: %(default)s')
    parser.add_argument('--out', default=out, help='folder (default: %(default)s)')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument(
        '--tasks',
        nargs='+',
        default=['predict', 'train', 'segmentor'],
        metavar='TASK',
        help=f'of {", ".join(TASKS)} (default: predict train segmentor)',
    )
    parser.add_argument(
        '--size', nargs='+', default=['512'], help='pixels, as 512 or 512x1024 (default: 512)'
    )
    parser.add_argument('--batch', type=int, default=1, help='images (default: %(default)s)')
    parser.add_argument('--classes', type=int, help='of both (default: what the configs say)')
    parser.add_argument(
        '--precision',
        default='float32',
        help=f'of {", ".join(PRECISIONS)} (default: %(default)s)',
    )
    parser.add_argument('--no-memory', action='store_true', help='time only')
    add_conditions(parser, out='work_dirs/benchmark', repeats=7)
    add_options(parser)  # of CONFIG only: OTHER stays as it is
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    sizes = check_arguments(args)
    models = (
        measured_model(args.config, args.cfg_options, args.classes, precision=args.precision),
        measured_model(args.other, None, args.classes, precision=args.precision),
    )
    for measured in models:
        check_tasks(measured, args.tasks, args.device)
    command = shlex.join(['python', *sys.argv])
    report = Report(args.out, 'benchmark', markdown, command=command, rows=[])
    with report.kept_at_interruption():
        compare(models, args, sizes, report)


def check_arguments(args: argparse.Namespace) -> list[Size]:
    """Checks all that needs no config, and returns the sizes.

    Raises:
        UserError: Something cannot be measured.
    """
    at_least(1, batch=args.batch, classes=args.classes, threads=args.threads, repeats=args.repeats)
    unknown = [task for task in args.tasks if task not in TASKS]
    if unknown:
        raise UserError(f'--tasks must be of {", ".join(TASKS)}, got {", ".join(unknown)}')
    sizes = [size_of(text) for text in args.size]
    check_sizes(sizes, '--size')
    check_folder(args.out)
    check_device(args.device, args.precision)
    return sizes


def size_of(text: str) -> Size:
    """Reads 512 or 512x1024."""
    lengths = text.split('x')
    if len(lengths) > 2 or not all(length.isdecimal() for length in lengths):
        raise UserError(f'--size takes numbers such as 512 or 512x1024, got {text!r}')
    return int(lengths[0]), int(lengths[-1])


def check_tasks(measured: MeasuredModel, tasks: list[str], device: str) -> None:
    """Raises UserError unless a model can do the tasks."""
    model = measured.cfg.model
    if model.get('cuda_graphs') and (device == 'cpu' or {*tasks} != {'segmentor'}):
        raise UserError(
            f'{measured.name}: model.cuda_graphs=True is for --device cuda --tasks segmentor, got '
            f'--device {device} --tasks {" ".join(tasks)}'
        )
    head = head_name(model)
    known = [name for name, task in TASKS.items() if head in task.heads]
    other = [name for name in tasks if name not in known]
    if other:
        raise UserError(
            f'--tasks for {measured.name} must be of {", ".join(known)}, got {", ".join(other)}'
        )
    where, trains = ('decode_head.', model[head]) if head == 'decode_head' else ('', model)
    if 'iteration' in tasks and not trains.get('train_cfg'):
        raise UserError(f'task iteration: {measured.name} has no {where}train_cfg')


def compare(
    models: Pair,
    args: argparse.Namespace,
    sizes: list[Size],
    report: Report,
) -> None:
    """Measures each task at each size; every result is written at once."""
    torch.set_num_threads(args.threads)
    precision = PRECISIONS[args.precision]
    with precision.float32_products():
        rate = matrix_rate(args.device, precision.autocast or torch.float32)
    report.results.update(
        machine=describe_machine(args.device),
        precision=args.precision,
        batch=args.batch,
        matrix_rate=rate,
        names=[measured.name for measured in models],
    )
    report.write()
    for task in args.tasks:
        for size in sizes:
            row = measure_pair(models, task, size, args.batch, args, memory=not args.no_memory)
            row |= dict(task=task, size=list(size))
            report.add('rows', row, _progress(row))


def measure_pair(
    models: Pair, task: str, size: Size, batch: int, args: argparse.Namespace, memory: bool = True
) -> dict[str, Any]:
    """What two models take for a task.

    Args:
        models: The two.
        task: Of ``TASKS``.
        size: (H, W) of the images in pixels.
        batch: Number of images.
        args: With ``device``, ``threads`` and ``repeats``.
        memory: Whether to measure memory, where that can be done.

    Returns:
        Of each model ``seconds`` of all runs, bytes of ``memory``, ``flops`` of inference and
        seconds of its ``parts``, as far as they can be had; or why it was ``skipped``.
    """
    row: dict[str, Any] = {}
    try:
        if memory and can_measure(args.device):  # first, in processes that may die of it
            row['memory'] = [
                task_memory(measured, task, size, batch, args.device, args.threads)
                for measured in models
            ]
        row |= _times(models, task, size, batch, args)
    except OutOfMemory as error:
        row['skipped'] = str(error)
    except torch.OutOfMemoryError:
        row['skipped'] = 'both models at once need more than the GPU has'
    if TASKS[task].counted and 'skipped' not in row:
        row['flops'] = [flops_of(measured, task, size, batch) for measured in models]
    gc.collect()
    if args.device == 'cuda':
        torch.cuda.empty_cache()  # for the processes that memory is measured in
    return row


def _times(
    models: Pair, name: str, size: Size, batch: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of the two models, and by part where the whole model runs."""
    tasks = [TASKS[name](measured, measured.build(args.device)) for measured in models]
    inputs = [task.inputs(size, batch) for task in tasks]
    runs = [partial(task, x) for task, x in zip(tasks, inputs, strict=True)]
    times: dict[str, Any] = dict(seconds=take_turns(runs, args.repeats, args.device))
    # A replay of CUDA graphs has no parts.
    graphs = any(measured.cfg.model.get('cuda_graphs') for measured in models)
    if TASKS[name].whole and not graphs:
        times['parts'] = seconds_by_part(tasks, inputs, min(args.repeats, 3))
    return times


def flops_of(measured: MeasuredModel, task: str, size: Size, batch: int) -> int:
    """FLOPs of a task that they are counted of, a multiply-add as two."""
    complexity = complexity_of(measured.cfg, size)
    outside = complexity.parts['backbone'].flops if TASKS[task].counted == 'head' else 0
    return 2 * batch * (complexity.flops - outside)


def _progress(row: dict[str, Any]) -> str:
    text = f'{row["task"]}, {size_in_words(row)}:'
    if 'skipped' in row:
        return f'{text} not measured, {row["skipped"]}'
    memory = f', memory ratio {ratio(row, "memory"):.2f}' if ratio(row, 'memory') else ''
    return f'{text} time ratio {ratio(row, "seconds"):.2f}{memory}'
