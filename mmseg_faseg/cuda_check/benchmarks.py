"""Steps: time and memory beside the baseline, one precision, batch and size at a time."""

import json
import shutil
import statistics
from functools import partial
from typing import Any, NamedTuple

from ..benchmark.report import table
from .settings import Settings, Subjects
from .step import Result, Step, run_tool

# What training and serving use comes first, so that a short time has it.
_FIRST = ('float32', 'float16')
_TASKS = ('predict', 'segmentor', 'iteration')
# Training iterations of the models that are trained, for the step that compares with loading.
TRAINED, TRAINED_BATCH = 'benchmark/trained', 2


class Cell(NamedTuple):
    """Conditions of one run of the benchmark.

    Attributes:
        precision: As ``tools/benchmark.py`` takes it.
        batch: Number of images.
        size: Of the images, as ``tools/benchmark.py`` takes it.
        graphs: Whether FASeg's inference replays CUDA graphs.
    """

    precision: str
    batch: int
    size: str
    graphs: bool = False

    @property
    def name(self) -> str:
        """Name of the step."""
        graphs = '-graphs' if self.graphs else ''
        return f'benchmark/{self.precision}-batch{self.batch}-{self.size}{graphs}'


def cells(subjects: Subjects, device: str) -> tuple[list[Cell], list[Cell]]:
    """Those that come first, and all others."""
    plain = [
        Cell(precision, batch, size)
        for batch in subjects.batches
        for precision in dict.fromkeys((*_FIRST, *subjects.precisions))
        if precision in subjects.precisions
        for size in subjects.sizes
    ]
    graphs = [
        Cell(precision, 1, size, graphs=True)
        for precision in _FIRST
        for size in subjects.sizes
        if device == 'cuda'
    ]
    first = [cell for cell in plain if cell.batch == 1 and cell.precision in _FIRST]
    return first + graphs, [cell for cell in plain if cell not in first]


def benchmark_steps(settings: Settings) -> tuple[list[Step], list[Step]]:
    """Steps that come first, and all others."""
    first, others = cells(settings.subjects, settings.device)
    return [_step(settings, cell) for cell in first], [_step(settings, cell) for cell in others]


def trained_step(settings: Settings) -> Step:
    """Training iterations of the models that are trained."""
    arguments = [
        *settings.subjects.training,
        *(
            '--tasks',
            'iteration',
            '--size',
            settings.subjects.crop,
            '--batch',
            TRAINED_BATCH,
            '--no-memory',
        ),
    ]
    return Step(TRAINED, 'benchmark', 45, 300, partial(_run, settings, TRAINED, arguments))


def _step(settings: Settings, cell: Cell) -> Step:
    arguments = [
        *settings.subjects.benchmark,
        *('--precision', cell.precision, '--batch', cell.batch, '--size', cell.size),
        *('--tasks', *(_TASKS[:2] if cell.graphs else _TASKS)),
        *(['--cuda-graphs'] if cell.graphs else []),
    ]
    return Step(cell.name, 'benchmark', 60, 900, partial(_run, settings, cell.name, arguments))


def _run(
    settings: Settings, name: str, arguments: list[Any], seconds: float, steps: dict[str, Result]
) -> Result:
    folder = settings.out / name
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run that was stopped
    command = [
        'tools/benchmark.py',
        *arguments,
        *('--device', settings.device, '--repeats', settings.subjects.repeats, '--out', folder),
    ]
    _, result = run_tool(settings, name, command, seconds)
    file = folder / 'benchmark.json'
    if file.exists():  # with what was measured before an end that came too early
        measured = json.loads(file.read_text())
        kept = ('rows', 'parts', 'flops', 'matmul_flops', 'copy_bytes')
        result |= {key: measured[key] for key in kept if key in measured}
    return result


def row_of(steps: dict[str, Result], name: str, task: str) -> dict[str, Any] | None:
    """What was measured of a task in a step; None if nothing was."""
    rows = steps.get(name, {}).get('rows', [])
    return next((row for row in rows if row['task'] == task), None)


def benchmark_section(steps: dict[str, Result], subjects: Subjects, device: str) -> str:
    """All measurements as Markdown, a line each."""
    first, others = cells(subjects, device)
    lines = [
        [_conditions(cell), task, *_cells_of(steps[cell.name], row)]
        for cell in [*first, *others]
        for task in _TASKS
        if (row := row_of(steps, cell.name, task))
    ]
    if not lines:
        return 'Not measured.\n'
    titles = ['', 'task', 'ms, FASeg', 'ms, Mask2Former', 'ratio', 'of the matrix rate']
    titles += ['MiB, FASeg', 'MiB, Mask2Former', 'ratio']
    note = (
        'Medians; growth of allocated memory at its peak. The matrix rate is what a product of '
        'large matrices reached in that precision; FLOPs are of inference.\n\n'
    )
    return note + table(titles, lines)


def _conditions(cell: Cell) -> str:
    graphs = ', CUDA graphs for FASeg' if cell.graphs else ''
    return f'{cell.precision}, batch {cell.batch}, {cell.size}{graphs}'


def _cells_of(result: Result, row: dict[str, Any]) -> list[str]:
    if 'skipped' in row:
        return [f'not measured: {row["skipped"]}', *[''] * 6]
    ours, theirs = (statistics.median(seconds) for seconds in row['seconds'])
    cells = [f'{1000 * ours:.2f}', f'{1000 * theirs:.2f}', f'{ours / theirs:.2f}']
    cells.append(_share_reached(result, row, ours))
    if 'memory' not in row:
        return [*cells, '', '', '']
    memory = [f'{size / 2**20:.0f}' for size in row['memory']]
    return [*cells, *memory, f'{row["memory"][0] / max(row["memory"][1], 1):.2f}']


def _share_reached(result: Result, row: dict[str, Any], seconds: float) -> str:
    """FASeg's share of the machine's matrix rate."""
    flops = [own for own in result.get('flops', []) if own['task'] == row['task']]
    rate = result.get('matmul_flops', {}).get(row['precisions'][0])
    return f'{flops[0]["flops"][0] / rate / seconds:.0%}' if flops and rate else ''
