"""Cost as the work grows: time and memory of two models along four axes."""

import csv
import json
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from ..apis import UserError
from ..files import whole_file
from . import axes, machine
from .axes import Point, on_axis
from .comparison import flops_of
from .memory import OutOfMemory, can_measure, task_memory
from .scaling_figure import draw
from .subjects import Subject, ignore_noise
from .tasks import TASKS
from .timing import interleave

# Of the memory that is free, what a point may be expected to take.
_MEMORY_SHARE = 0.8


_COLUMNS = (*Point._fields, 'name', 'seconds', 'bytes', 'flops', 'skipped')


class Scan(NamedTuple):
    """What is to be measured.

    Attributes:
        configs: The two models, and what else shares their axes.
        axes: Values of each axis, ascending; the other axes stay at ``BASE``.
        task: An inference task.
        device: 'cpu' or 'cuda'.
        threads: Of the CPU.
        repeats: Timed runs of each.
        budget: Seconds that the timed runs of a model at a point may take.
    """

    configs: Sequence[Config]
    axes: dict[str, Sequence[int]]
    task: str = 'predict'
    device: str = 'cpu'
    threads: int = 2
    repeats: int = 3
    budget: float = 120.0

    def points(self) -> list[tuple[str, Point]]:
        """Axis and point, axis by axis, ascending."""
        return [
            (axis, axes.BASE._replace(**{axis: value}))
            for axis, values in self.axes.items()
            for value in sorted(values)
        ]


def scan(plan: Scan, folder: str | Path) -> list[dict[str, Any]]:
    """Measures every point; files and figure are written anew after each.

    Points that would take more memory than is free, or more time than the budget even once, are
    left out and say so.

    Args:
        plan: What is to be measured.
        folder: Gets ``scaling.csv``, ``scaling.json`` and ``scaling.png``.

    Returns:
        A row for each model at each point.

    Raises:
        UserError: The folder cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out: no folder can be made at {folder}: {error.strerror}') from None
    ignore_noise()
    torch.set_num_threads(plan.threads)
    rows: dict[tuple[Point, str], dict[str, Any]] = {}
    before: dict[str, dict[str, Any]] = {}
    last_axis = None
    for axis, point in plan.points():
        if axis != last_axis:
            before, last_axis = {}, axis
        for row in _measure(plan, axis, point, rows, before):
            rows[point, row['name']] = before[row['name']] = row
            print(_progress(row), flush=True)
        _write(plan, list(rows.values()), folder)
    return list(rows.values())


def _measure(
    plan: Scan,
    axis: str,
    point: Point,
    known: dict[tuple[Point, str], dict[str, Any]],
    before: dict[str, dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """The rows of a point that are not known yet; ``before`` has the axis's last."""
    size = (point.side, point.side)
    runs, rows = [], []
    for cfg in plan.configs:
        subject = Subject.of(cfg, point.classes, point.queries)
        if (row := known.get((point, subject.name))) is not None:
            before[subject.name] = row
            continue
        row = dict(point._asdict(), name=subject.name, seconds=None, bytes=None)
        row['skipped'] = _too_large(plan, axis, point, before.get(subject.name))
        # Counting may mean running the model.
        row['flops'] = None
        if row['skipped'] is None:
            row['flops'] = flops_of(subject, plan.task, size, point.batch)
        if row['skipped'] is None and can_measure(plan.device):
            try:
                row['bytes'] = task_memory(
                    subject, plan.task, size, point.batch, plan.device, plan.threads
                )
            except OutOfMemory as error:
                row['skipped'] = str(error)
        if row['skipped'] is None:
            task = TASKS[plan.task](subject, subject.build(plan.device))
            runs.append((row, partial(task, task.inputs(size, point.batch))))
        rows.append(row)
    if runs:
        expected = [_expected(axis, point, before.get(row['name']), 'seconds') for row, _ in runs]
        affordable = int(plan.budget / max(*expected, 1e-9)) if any(expected) else plan.repeats
        repeats = max(1, min(plan.repeats, affordable - 1))
        seconds = interleave([run for _, run in runs], repeats, plan.device)
        for (row, _), own in zip(runs, seconds, strict=True):
            row['seconds'] = statistics.median(own)
    yield from rows


def _too_large(plan: Scan, axis: str, point: Point, last: dict[str, Any] | None) -> str | None:
    """Why a point is left out, by what the last one on the axis took; None if it is not."""
    if last is not None and last['skipped'] is not None:
        return 'the point before it was left out'
    free = machine.available_memory(plan.device)
    if (expected := _expected(axis, point, last, 'bytes')) > _MEMORY_SHARE * free:
        return f'expected to take {expected / 2**30:.1f} of {free / 2**30:.1f} GiB that are free'
    if (expected := _expected(axis, point, last, 'seconds')) > plan.budget:
        return f'expected to take {expected:.0f} s a run, more than the budget {plan.budget:.0f} s'
    return None


def _expected(axis: str, point: Point, last: dict[str, Any] | None, quantity: str) -> float:
    """The last value on the axis, grown with the work; 0 where there is none."""
    if last is None or last[quantity] is None:
        return 0.0
    growth = getattr(point, axis) / last[axis]
    return last[quantity] * growth ** (2 if axis == 'side' else 1)


def _write(plan: Scan, rows: list[dict[str, Any]], folder: Path) -> None:
    with whole_file(folder / 'scaling.csv') as temporary, temporary.open('w') as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    results = dict(task=plan.task, machine=machine.describe(plan.device, plan.threads), rows=rows)
    with whole_file(folder / 'scaling.json') as temporary:
        temporary.write_text(json.dumps(results, indent=1) + '\n')
    curves = {
        axis: {
            name: on_axis(rows, axis, name) for name in dict.fromkeys(row['name'] for row in rows)
        }
        for axis in plan.axes
    }
    with whole_file(folder / 'scaling.png') as temporary:
        draw(curves, temporary)


def _progress(row: dict[str, Any]) -> str:
    where = ', '.join(f'{field} {row[field]}' for field in Point._fields)
    if row['skipped']:
        return f'{where}: {row["name"]} left out, {row["skipped"]}'
    memory = '' if row['bytes'] is None else f', {row["bytes"] / 2**20:.0f} MiB'
    return f'{where}: {row["name"]} {row["seconds"]:.3f} s{memory}'
