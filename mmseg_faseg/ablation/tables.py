"""What came out of the runs, as tables."""

import csv
import statistics
from pathlib import Path
from typing import NamedTuple

from ..apis.complexity import Complexity
from ..files import whole_file
from .variants import Variant


class Result(NamedTuple):
    """What came out of one run.

    Attributes:
        variant: The cell.
        seed: Its seed.
        miou: On the test set, in percent.
        seconds: Per training iteration, the median; None if none was logged.
    """

    variant: Variant
    seed: int
    miou: float
    seconds: float | None


def write_tables(folder: Path, costs: dict[Variant, Complexity], results: list[Result]) -> None:
    """Writes ``ablation.csv`` and ``ablation.md`` to ``folder``, in the order of ``costs``."""
    order = list(costs)
    results = sorted(results, key=lambda result: (order.index(result.variant), result.seed))
    with whole_file(folder / 'ablation.csv') as temporary, temporary.open('w') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(
            [*Variant._fields, 'seed', 'mIoU', 'parameters', 'FLOPs', 'seconds per iteration']
        )
        for variant, seed, miou, seconds in results:
            cost = costs[variant]
            writer.writerow([*variant, seed, round(miou, 2), cost.params, cost.flops, seconds])
    rows = [
        _row(variant, [result for result in results if result.variant == variant], cost)
        for variant, cost in costs.items()
    ]
    titles = [
        'positional query',
        'HRCA (share)',
        'K_p',
        'threshold',
        'mIoU, mean ± standard deviation',
        'by seed',
        'parameters',
        'FLOPs',
        'seconds per iteration',
    ]
    lines = [titles, ['---'] * len(titles), *rows]
    with whole_file(folder / 'ablation.md') as temporary:
        temporary.write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines))


def _row(variant: Variant, results: list[Result], cost: Complexity) -> list[str]:
    mious = [result.miou for result in results]
    seconds = [result.seconds for result in results if result.seconds is not None]
    spread = f' ± {statistics.stdev(mious):.2f}' if len(mious) > 1 else ''
    return [
        variant.positional_query,
        variant.hrca if variant.ratio is None else f'{variant.hrca} ({variant.ratio:.3g})',
        variant.key_pos,
        f'{variant.threshold:g}',
        f'{statistics.mean(mious):.2f}{spread}' if mious else '',
        ', '.join(f'{miou:.2f}' for miou in mious),
        f'{cost.params / 1e6:.2f} M',
        f'{cost.flops / 1e9:.2f} G',
        f'{statistics.median(seconds):.2f}' if seconds else '',
    ]
