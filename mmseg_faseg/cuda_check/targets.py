"""What FASeg is to reach beside Mask2Former on a GPU, and whether it has."""

import statistics
from typing import Any, NamedTuple

from ..benchmark.report import table
from .benchmarks import Cell, row_of
from .step import Result


class Target(NamedTuple):
    """A share of the baseline's time or memory that is to be reached.

    Attributes:
        task: Of the benchmark.
        quantity: 'seconds' (medians) or 'memory' (peak).
        aim: FASeg's over Mask2Former's, at most.
        size: Of the images.
        batch: Number of images.
        graphs: Whether FASeg replays CUDA graphs.
    """

    task: str
    quantity: str
    aim: float
    size: str
    batch: int
    graphs: bool = False

    @property
    def title(self) -> str:
        """What a table calls it."""
        what = {'predict': 'head, inference', 'iteration': 'training iteration'}[self.task]
        kind = {'seconds': 'time', 'memory': 'peak memory'}[self.quantity]
        graphs = ', CUDA graphs' if self.graphs else ''
        return f'{what}, {kind}, {self.size}, batch {self.batch}{graphs}'

    def ratio(self, row: dict[str, Any]) -> float | None:
        """The share in a row of the benchmark; None if that was not measured."""
        if self.quantity not in row or 'skipped' in row:
            return None
        values = row[self.quantity]
        if self.quantity == 'seconds':
            values = [statistics.median(own) for own in values]
        return values[0] / values[1] if values[1] else None


TARGETS = (
    Target('predict', 'seconds', 0.7, '512', 1),
    Target('predict', 'seconds', 0.7, '512', 1, graphs=True),
    Target('predict', 'seconds', 0.8, '1024x2048', 1),
    Target('predict', 'memory', 0.85, '512', 1),
    Target('predict', 'memory', 0.85, '1024x2048', 1),
    *(Target('iteration', 'seconds', 0.95, '512', batch) for batch in (1, 2, 8)),
    *(Target('iteration', 'memory', 0.85, '512', batch) for batch in (1, 2, 8)),
)


def target_section(
    steps: dict[str, Result], precisions: tuple[str, ...], deformable: dict[str, str]
) -> str:
    """Targets as Markdown, a column per precision.

    Args:
        steps: Results of all steps.
        precisions: Of the benchmark.
        deformable: Back end of each model's deformable attention.
    """
    rows = [
        [
            target.title,
            f'{target.aim:g}',
            *(_verdict(steps, target, precision) for precision in precisions),
        ]
        for target in TARGETS
    ]
    named = ', '.join(f'{model} {backend}' for model, backend in deformable.items())
    note = f'\nBack end of the deformable attention: {named}.\n'
    return table(["share of Mask2Former's", 'at most', *precisions], rows) + note


def _verdict(steps: dict[str, Result], target: Target, precision: str) -> str:
    cell = Cell(precision, target.batch, target.size, target.graphs)
    row = row_of(steps, cell.name, target.task)
    ratio = None if row is None else target.ratio(row)
    if ratio is None:
        return 'not measured'
    return f'{ratio:.2f}, {"reached" if ratio <= target.aim else "missed"}'
