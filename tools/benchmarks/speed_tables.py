"""What the comparison of two models found, in tables."""

import statistics
from typing import Any

from .results import table
from .tasks import TASKS


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
            title = f'seconds of {TASKS[row["task"]].title}, {size_in_words(row)}'
            sections.append(table([title, first, second], _parts(row)))
    return '\n'.join(sections)


def _line(row: dict[str, Any], results: dict[str, Any]) -> list[str]:
    cells = [TASKS[row['task']].title, size_in_words(row)]
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


def size_in_words(row: dict[str, Any]) -> str:
    """The size of a row's images."""
    return f'{row["size"][0]} x {row["size"][1]}'
