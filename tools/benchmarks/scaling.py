"""Measures how time and memory of two models grow with input, queries, classes and batch."""

import argparse
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

from mmseg_faseg.apis import UserError, one_line_errors
from mmseg_faseg.files import whole_file

from .measure import describe_machine
from .models import check_device, check_sizes, measured_model
from .results import Report, at_least, check_folder, table
from .speed import add_conditions, add_models, measure_pair
from .speed_tables import spelled

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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    for name, values in GROWTH.items():
        text = f'default: {" ".join(map(str, values))}; none leaves it as it is'
        parser.add_argument(f'--{name}', nargs='*', type=int, default=values, help=text)
    parser.add_argument(
        '--task', default='predict', help='predict or segmentor (default: %(default)s)'
    )
    add_conditions(parser, out='work_dirs/scaling', repeats=3)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    growth = check_arguments(args)
    names = [measured_model(config).name for config in (args.config, args.other)]
    torch.set_num_threads(args.threads)
    report = Report(
        args.out,
        'scaling',
        markdown,
        command=shlex.join(['python', *sys.argv]),
        machine=describe_machine(args.device),
        names=names,
        rows=[],
    )
    with report.kept_at_interruption():
        measure_growth(args, growth, report)


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


def measure_growth(args: argparse.Namespace, growth: dict[str, list[int]], report: Report) -> None:
    """Measures every workload once; larger ones than what did not fit are left out."""
    known: dict[Workload, Row] = {}
    for name, values in growth.items():
        fits = True
        for value in values:
            workload = BASE._replace(**{name: value})
            if workload not in known:
                known[workload] = row = workload._asdict()
                row |= (
                    _measure(args, workload) if fits else dict(skipped='a smaller one did not fit')
                )
                report.add('rows', row, f'{name} {value}: {", ".join(_spelled_row(row))}')
            fits = 'skipped' not in known[workload]
        with whole_file(report.json.with_suffix('.png')) as temporary:
            draw(report.results, growth, temporary)


def _measure(args: argparse.Namespace, workload: Workload) -> Row:
    models = tuple(
        measured_model(config, None, workload.classes, workload.queries)
        for config in (args.config, args.other)
    )
    row = measure_pair(models, args.task, (workload.side, workload.side), workload.batch, args)
    if 'seconds' in row:
        row['seconds'] = [statistics.median(seconds) for seconds in row['seconds']]
    return row


def markdown(results: dict[str, Any]) -> str:
    """A line for each workload."""
    names = results['names']
    titles = [*Workload._fields, *(f'{name}, s' for name in names)]
    titles += [f'{name}, MiB' for name in names]
    rows = [
        [*(str(row[field]) for field in Workload._fields), *_spelled_row(row)]
        for row in results['rows']
    ]
    machine = table(['', ''], [list(item) for item in results['machine'].items()])
    return f'```bash\n{results["command"]}\n```\n\n{machine}\n{table(titles, rows)}'


def _spelled_row(row: Row) -> list[str]:
    if 'skipped' in row:
        return [f'left out: {row["skipped"]}', '', '', '']
    memory = [size / 2**20 for size in row.get('memory', ())] or [None, None]
    return [spelled(x, '.3f') for x in row['seconds']] + [spelled(x, '.0f') for x in memory]


def draw(results: dict[str, Any], growth: dict[str, list[int]], path: Path) -> None:
    """Draws time above and memory below, a column for each thing that grows, all logarithmic.

    A dashed line in a model's colour grows as its FLOPs do, from its first point: a cost below it
    grows slower than the arithmetic.
    """
    quantities = {'seconds': ('time, s', 1.0), 'memory': ('peak memory, MiB', 2.0**-20)}
    figure = Figure(figsize=(3.2 * len(growth), 5.6), layout='constrained')
    axes = figure.subplots(len(quantities), len(growth), sharex='col', sharey='row', squeeze=False)
    for column, (grows, values) in enumerate(growth.items()):
        alone = [BASE._replace(**{grows: value}) for value in values]
        rows = {Workload(*(row[key] for key in Workload._fields)): row for row in results['rows']}
        own = [rows[workload] for workload in alone if workload in rows]
        for ax, (quantity, (label, unit)) in zip(axes[:, column], quantities.items(), strict=True):
            points = [row for row in own if quantity in row and 'skipped' not in row]
            x = [row[grows] for row in points]
            for index, name in enumerate(results['names'] if points else ()):
                costs = [row[quantity][index] * unit for row in points]
                flops = [
                    row['flops'][index] * costs[0] / points[0]['flops'][index] for row in points
                ]
                ax.plot(x, costs, marker='o', markersize=3, color=f'C{index}', label=name)
                ax.plot(x, flops, color=f'C{index}', linewidth=0.7, linestyle='--')
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
