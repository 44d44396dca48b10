"""The curves of a run, from what MMEngine has written in each of its starts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..engine.log_processor import loss_kinds

Curve = list[tuple[int, float]]  # iteration and value
Lines = dict[int, dict[str, float]]  # by iteration
_NO_METRICS = ('step', 'time', 'data_time', 'memory')


@dataclass(frozen=True)
class Curves:
    """Values over iterations; a resumed run's are joined and never go backwards.

    Attributes:
        losses: By kind, the total ``loss`` first.
        learning_rate: The base rate, which parts of the model may have multiples of.
        metrics: Of validation, by name; of those with a prefix only mean IoUs.
        starts: How often the run was started and wrote something.
        unread: Lines that could not be read, as the last one after a kill.
    """

    losses: dict[str, Curve] = field(default_factory=dict)
    learning_rate: Curve = field(default_factory=list)
    metrics: dict[str, Curve] = field(default_factory=dict)
    starts: int = 0
    unread: int = 0

    def by_name(self) -> dict[str, Curve]:
        """All that have points."""
        every = {**self.losses, 'learning rate': self.learning_rate, **self.metrics}
        return {name: curve for name, curve in every.items() if curve}


def read_curves(folder: Path) -> Curves:
    """Reads ``*/vis_data/scalars.json`` below a work dir, the folders in the order of their names.

    These are the times at which the run was started. What one start had written from the iteration
    on that a later one went on from was lost with it, and is left out.
    """
    training: Lines = {}
    validation: Lines = {}
    starts = unread = 0
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        lines, wrong = _read(file)
        unread += wrong
        starts += bool(lines)
        trained = [line for line in lines if loss_kinds(line)]
        validated = [line for line in lines if not loss_kinds(line)]
        if trained:
            begin = min(int(line['step']) for line in trained)
            training, validation = _before(begin, training), _before(begin, validation)
        training |= {int(line['step']): line for line in trained}
        validation |= _by_iteration(validated, trained)
    rates = {step: line.get('base_lr', line.get('lr')) for step, line in training.items()}
    metrics = {
        step: {name: value for name, value in line.items() if _is_shown(name)}
        for step, line in validation.items()
    }
    return Curves(
        losses=_curves({step: loss_kinds(line) for step, line in training.items()}),
        learning_rate=[(step, rate) for step, rate in sorted(rates.items()) if rate is not None],
        metrics=_curves(metrics),
        starts=starts,
        unread=unread,
    )


def _read(file: Path) -> tuple[list[dict[str, float]], int]:
    """The numbers of all lines that tell their step, and how many lines do not."""
    lines, wrong = [], 0
    for text in file.read_text(errors='replace').splitlines():
        try:
            line = json.loads(text)
            int(line['step'])
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
            wrong += 1
            continue
        lines.append({name: float(v) for name, v in line.items() if isinstance(v, int | float)})
    return lines, wrong


def _before(iteration: int, lines: Lines) -> Lines:
    return {step: line for step, line in lines.items() if step < iteration}


def _by_iteration(
    validated: Iterable[dict[str, float]], trained: Iterable[dict[str, float]]
) -> Lines:
    """Validations by iteration; where training is counted in epochs, their steps are epochs."""
    ends = {int(line['epoch']): int(line['step']) for line in trained if 'epoch' in line}
    return {ends.get(int(line['step']), int(line['step'])): line for line in validated}


def _is_shown(name: str) -> bool:
    return name not in _NO_METRICS and ('/' not in name or name.endswith('/mIoU'))


def _curves(lines: Lines) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for step in sorted(lines):
        for name, value in lines[step].items():
            curves.setdefault(name, []).append((step, value))
    return curves
