"""Measures time and peak memory of two models side by side, on random weights and same inputs."""

import argparse
import gc
import shlex
import statistics
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
from .results import Report, at_least, check_folder, table
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


def ratio(row: dict[str, Any], quantity: str) -> float | None:
    """First over second: of median 'seconds', or of peak 'memory'; None if not measured."""
    if quantity not in row or 'skipped' in row:
        return None
    first, second = row[quantity]
    if quantity == 'seconds':
        first, second = statistics.median(first), statistics.median(second)
    return first / second if second else None


def share_of_rate(row: dict[str, Any], results: dict[str, Any], index: int) -> float | None:
    """A model's FLOP/s over those of a matrix product; None if they are not known."""
    if 'flops' not in row or not results.get('matrix_rate'):
        return None
    rate = row['flops'][index] / statistics.median(row['seconds'][index])
    return rate / results['matrix_rate']


def markdown(results: dict[str, Any]) -> str:
    """All tables that the results allow."""
    machine = [[key, value] for key, value in results['machine'].items()]
    machine += [
        ['precision', results['precision']],
        ['images', str(results['batch'])],
        ['product of large matrices', f'{results["matrix_rate"] / 1e9:.0f} GFLOP/s'],
    ]
    first, second = results['names']
    titles = ['', 'input', *(f'{name}, s' for name in (first, second)), 'ratio']
    titles += [*(f'{name}, MiB' for name in (first, second)), 'ratio']
    titles += [f'{name}, of the matrix rate' for name in (first, second)]
    rows = [_line(row, results) for row in results['rows']]
    sections = [
        f'```bash\n{results["command"]}\n```\n',
        table(['', ''], machine),
        table(titles, rows),
        'Time is the median (fastest .. slowest). Memory, where it can be measured, is what a run '
        'adds at its peak, in a process of its own: without weights, inputs and optimiser state.\n',
    ]
    for row in results['rows']:
        if 'parts' in row:
            title = f'seconds of {TASKS[row["task"]].title}, {_size(row)}'
            sections.append(table([title, first, second], _parts(row)))
    return '\n'.join(sections)


def _line(row: dict[str, Any], results: dict[str, Any]) -> list[str]:
    cells = [TASKS[row['task']].title, _size(row)]
    if 'skipped' in row:
        return [*cells, f'not measured: {row["skipped"]}', *[''] * 7]
    cells += [f'{statistics.median(s):.3f} ({min(s):.3f} .. {max(s):.3f})' for s in row['seconds']]
    cells.append(spelled(ratio(row, 'seconds')))
    cells += [f'{size / 2**20:.0f}' for size in row.get('memory', ())] or ['', '']
    cells.append(spelled(ratio(row, 'memory')))
    return cells + [spelled(share_of_rate(row, results, i), '.0%') for i in range(2)]


def _parts(row: dict[str, Any]) -> list[list[str]]:
    return [
        [part, *(f'{own[part]:.3f} ({own[part] / own["whole"]:.0%})' for own in row['parts'])]
        for part in row['parts'][0]
    ]


def spelled(value: float | None, how: str = '.2f') -> str:
    """A number as a table shows it; nothing where there is none."""
    return '' if value is None else f'{value:{how}}'


def _size(row: dict[str, Any]) -> str:
    return f'{row["size"][0]} x {row["size"][1]}'


def _progress(row: dict[str, Any]) -> str:
    text = f'{row["task"]}, {_size(row)}:'
    if 'skipped' in row:
        return f'{text} not measured, {row["skipped"]}'
    memory = f', memory ratio {ratio(row, "memory"):.2f}' if ratio(row, 'memory') else ''
    return f'{text} time ratio {ratio(row, "seconds"):.2f}{memory}'
