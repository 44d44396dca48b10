"""Measures how time and memory of models grow with input, queries, classes and batch."""

import argparse
import shlex
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

from mmseg_faseg.apis import UserError, one_line_errors
from mmseg_faseg.files import whole_file

from .measure import describe_machine, take_turns
from .memory import OutOfMemory, can_measure, task_memory
from .models import DEFAULT_CONFIGS, check_device, check_sizes, measured_model
from .results import Report, at_least, check_folder, table
from .speed import flops_of, spelled
from .tasks import TASKS

Row = dict[str, Any]


class Workload(NamedTuple):
    """Side of the square image in pixels, queries, classes and images."""

    side: int
    queries: int
    classes: int
    batch: int


# One number of it grows at a time; the others stay.
BASE = Workload(side=512, queries=100, classes=150, batch=1)
GROWTH: dict[str, Sequence[int]] = {
    'side': (256, 512, 1024, 2048),
    'queries': (50, 100, 200, 400),
    'classes': (19, 150, 400, 847),
    'batch': (1, 2, 4, 8),
}
_QUANTITIES = {'seconds': ('time, s', 1.0), 'bytes': ('peak memory, MiB', 2.0**-20)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs',
        nargs='*',
        default=list(DEFAULT_CONFIGS),
        help='configs of the models (default: %(default)s)',
    )
    for name, values in GROWTH.items():
        default = ' '.join(map(str, values))
        parser.add_argument(
            f'--{name}',
            nargs='*',
            type=int,
            default=values,
            help=f'default: {default}; none leaves it as it is',
        )
    parser.add_argument(
        '--task', default='predict', help='predict or segmentor (default: %(default)s)'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--repeats', type=int, default=3, help='default: %(default)s')
    parser.add_argument('--out', default='work_dirs/scaling', help='folder (default: %(default)s)')
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    growth = check_arguments(args)
    names = [measured_model(config).name for config in args.configs]
    if len(set(names)) < len(names):
        raise UserError(f'configs must differ in their file names, got {", ".join(names)}')
    torch.set_num_threads(args.threads)
    command = shlex.join(['python', *sys.argv])
    machine = describe_machine(args.device)
    report = Report(args.out, 'scaling', markdown, command=command, machine=machine, rows=[])
    with report.kept_at_interruption():
        measure(args, growth, report)


def check_arguments(args: argparse.Namespace) -> dict[str, list[int]]:
    """Checks all that needs no config, and returns what grows, with its values, ascending.

    Raises:
        UserError: Something cannot be measured.
    """
    if args.task not in ('predict', 'segmentor'):
        raise UserError(f'--task must be predict or segmentor, got {args.task}')
    growth = {name: sorted(getattr(args, name)) for name in GROWTH if getattr(args, name)}
    if not growth:
        raise UserError('nothing is left to grow: give --side, --queries, --classes or --batch')
    at_least(1, threads=args.threads, repeats=args.repeats)
    at_least(1, **{name: min(values) for name, values in growth.items()})
    check_sizes([(side, side) for side in growth.get('side', ())], '--side')
    check_folder(args.out)
    check_device(args.device)
    return growth


def measure(args: argparse.Namespace, growth: dict[str, list[int]], report: Report) -> None:
    """Measures every workload; the report and the figure are written anew after each.

    A workload that takes more memory than there is is left out and says so, and so are larger ones.
    """
    known: dict[tuple[Workload, str], Row] = {}
    for name, values in growth.items():
        smaller: dict[str, Row] = {}
        for value in values:
            workload = BASE._replace(**{name: value})
            runs = []
            for config in args.configs:
                if (workload, config) not in known:
                    row, run = _prepare(args, config, workload, smaller.get(config))
                    known[workload, config] = row
                    runs += [(row, run)] if run else []
                smaller[config] = known[workload, config]
            times = take_turns([run for _, run in runs], args.repeats, args.device)
            for (row, _), seconds in zip(runs, times, strict=True):
                row['seconds'] = statistics.median(seconds)
            for config in args.configs:
                row = known[workload, config]
                if row not in report.results['rows']:
                    report.add('rows', row, _progress(row))
        with whole_file(report.json.with_suffix('.png')) as temporary:
            draw(report.results['rows'], growth, temporary)


def _prepare(
    args: argparse.Namespace, config: str, workload: Workload, smaller: Row | None
) -> tuple[Row, Any]:
    """A model's row at a workload, with memory and FLOPs, and what is to be timed, if it fits."""
    measured = measured_model(config, None, workload.classes, workload.queries)
    size, batch = (workload.side, workload.side), workload.batch
    row = dict(workload._asdict(), name=measured.name, seconds=None, bytes=None, flops=None)
    row['skipped'] = None
    if smaller is not None and smaller['skipped']:
        row['skipped'] = 'a smaller one was left out'
        return row, None
    row['flops'] = flops_of(measured, args.task, size, batch)
    if can_measure(args.device):
        try:
            row['bytes'] = task_memory(measured, args.task, size, batch, args.device, args.threads)
        except OutOfMemory as error:
            row['skipped'] = str(error)
            return row, None
    task = TASKS[args.task](measured, measured.build(args.device))
    return row, partial(task, task.inputs(size, batch))


def curves(rows: list[Row], grows: str, quantity: str) -> dict[str, list[Row]]:
    """By model, ascending: its rows in which nothing but one number differs from ``BASE``."""
    others = [field for field in Workload._fields if field != grows]
    own: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[grows]):
        if row[quantity] and all(row[field] == getattr(BASE, field) for field in others):
            own.setdefault(row['name'], []).append(row)
    return own


def markdown(results: dict[str, Any]) -> str:
    """All rows."""
    rows = [
        [
            *(str(row[field]) for field in Workload._fields),
            row['name'],
            spelled(row['seconds'], '.3f'),
            spelled(row['bytes'] and row['bytes'] / 2**20, '.0f'),
            row['skipped'] or '',
        ]
        for row in results['rows']
    ]
    sections = [
        f'```bash\n{results["command"]}\n```\n',
        table(['', ''], [list(item) for item in results['machine'].items()]),
        table([*Workload._fields, '', 'seconds', 'MiB', ''], rows),
    ]
    return '\n'.join(sections)


def draw(rows: list[Row], growth: dict[str, list[int]], path: Path) -> None:
    """Draws time above and memory below, a column for each thing that grows, all logarithmic.

    A dashed line in a model's colour grows as its FLOPs do, from its first point: a cost below it
    grows slower than the arithmetic.
    """
    figure = Figure(figsize=(3.2 * len(growth), 5.6), layout='constrained')
    axes = figure.subplots(len(_QUANTITIES), len(growth), sharex='col', sharey='row', squeeze=False)
    for column, (grows, values) in enumerate(growth.items()):
        for ax, (quantity, (label, unit)) in zip(axes[:, column], _QUANTITIES.items(), strict=True):
            for index, (name, own) in enumerate(curves(rows, grows, quantity).items()):
                x, costs = [row[grows] for row in own], [row[quantity] * unit for row in own]
                as_flops = [costs[0] * row['flops'] / own[0]['flops'] for row in own]
                ax.plot(x, costs, marker='o', markersize=3, color=f'C{index}', label=name)
                ax.plot(x, as_flops, color=f'C{index}', linewidth=0.7, linestyle='--')
            ax.set_xscale('log', base=2)
            ax.set_yscale('log')
            ax.grid(alpha=0.3)
            ax.set_xticks(values, [str(value) for value in values])
            ax.minorticks_off()
            if column == 0:
                ax.set_ylabel(label)
        axes[-1, column].set_xlabel(grows)
    axes[0, 0].plot([], [], color='grey', linewidth=0.7, linestyle='--', label='as FLOPs grow')
    axes[0, 0].legend(fontsize='small')
    figure.savefig(path, dpi=120)


def _progress(row: Row) -> str:
    where = ', '.join(f'{field} {row[field]}' for field in Workload._fields)
    if row['skipped']:
        return f'{where}: {row["name"]} left out, {row["skipped"]}'
    memory = '' if row['bytes'] is None else f', {row["bytes"] / 2**20:.0f} MiB'
    return f'{where}: {row["name"]} {row["seconds"]:.3f} s{memory}'
