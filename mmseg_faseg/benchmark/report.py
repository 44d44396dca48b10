"""Results as JSON, and the same as Markdown; both are written anew after every result."""

import json
import statistics
from pathlib import Path
from typing import Any

from ..apis import UserError
from ..files import whole_file
from .timing import ratio

_TASKS = {
    'predict': 'head, features to class scores',
    'train': 'head, forward and backward of all predictions',
    'segmentor': 'segmentor, image to class map',
    'iteration': 'training iteration',
    'decoder': 'transformer decoder',
}


class Report:
    """Results in a folder, ``benchmark.json`` and ``benchmark.md``.

    Args:
        folder: Made if it is not there.
        command: The command line that asked for them.

    Attributes:
        results: What ``benchmark.json`` holds: ``machine``, ``rows`` (seconds and bytes of the two
            models of a task), ``parts`` (seconds) and ``flops``.

    Raises:
        UserError: The folder cannot be made.
    """

    def __init__(self, folder: str | Path, command: str) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'--out: no folder can be made at {folder}: {error.strerror}') from None
        self.results: dict[str, Any] = dict(command=command, rows=[], parts=[], flops=[])

    def describe(self, **conditions: Any) -> None:
        """Notes under which conditions all is measured."""
        self.results.update(conditions)
        self.write()

    def add(self, kind: str, row: dict[str, Any]) -> None:
        """Adds to 'rows', 'parts' or 'flops'."""
        self.results[kind].append(row)
        self.write()
        if kind == 'rows':
            print(_progress(row), flush=True)

    def write(self) -> None:
        """Writes both files."""
        with whole_file(self.folder / 'benchmark.json') as temporary:
            temporary.write_text(json.dumps(self.results, indent=1) + '\n')
        with whole_file(self.folder / 'benchmark.md') as temporary:
            temporary.write_text(markdown(self.results))


def markdown(results: dict[str, Any]) -> str:
    """All tables that the results allow."""
    sections = [
        f'```bash\n{results["command"]}\n```\n',
        _machine(results),
        _ratios(results),
        _times(results),
        _memory(results),
        *(_parts(row) for row in results['parts']),
        _roofline(results),
    ]
    return '\n'.join(section for section in sections if section)


def table(titles: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ['---'] * len(titles), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _machine(results: dict[str, Any]) -> str:
    rows = [[key, value] for key, value in results['machine'].items()]
    for precision, rate in results['matmul_flops'].items():
        rows.append([f'matrix product, {precision}', f'{rate / 1e9:.0f} GFLOP/s'])
    rows.append(['copy, read and written', f'{results["copy_bytes"] / 1e9:.1f} GB/s'])
    rows.append(['batch', str(results['batch'])])
    return '### Machine\n\n' + table(['', ''], rows)


def _ratios(results: dict[str, Any]) -> str:
    """A line per task and quantity, a column per size."""
    sizes = list(dict.fromkeys(_size(row) for row in results['rows']))
    cells: dict[str, dict[str, str]] = {}
    for row in results['rows']:
        what = f'{_TASKS[row["task"]]}: {row["names"][0]} / {row["names"][1]}'
        if 'seconds' in row:
            value = f'{ratio(*row["seconds"]):.2f}'
            cells.setdefault(f'{what}, time', {})[_size(row)] = value
        if 'memory' in row:
            value = f'{row["memory"][0] / row["memory"][1]:.2f}' if row['memory'][1] else ''
            cells.setdefault(f'{what}, peak memory', {})[_size(row)] = value
        if 'changed' in row:
            value = f'{row["changed"]:.3%}'
            cells.setdefault(f'{what}, pixels of another class', {})[_size(row)] = value
    rows = [[what, *(own.get(size, '') for size in sizes)] for what, own in cells.items()]
    return '### Ratios\n\n' + table(['', *sizes], rows) if rows else ''


def _times(results: dict[str, Any]) -> str:
    rows = [
        [_TASKS[row['task']], _size(row), name, _spread(seconds)]
        for row in results['rows']
        for name, seconds in zip(row['names'], row.get('seconds', ()), strict=False)
    ]
    rows += [
        [_TASKS[row['task']], _size(row), '', f'not measured: {row["skipped"]}']
        for row in results['rows']
        if 'skipped' in row
    ]
    titles = ['', 'input', '', 'seconds, median (fastest .. slowest)']
    return '### Time\n\n' + table(titles, rows) if rows else ''


def _memory(results: dict[str, Any]) -> str:
    if not results['memory']:
        return '### Peak memory\n\nNot measured.\n'
    rows = [
        [_TASKS[row['task']], _size(row), name, f'{size / 2**20:.0f}']
        for row in results['rows']
        for name, size in zip(row['names'], row.get('memory', ()), strict=False)
    ]
    how = (
        'Growth of resident memory during one run'
        if results['device'] == 'cpu'
        else "Growth of PyTorch's allocated memory during one run"
    )
    note = f'{how}, in a process of its own: without weights, inputs and optimiser state.\n\n'
    return '### Peak memory\n\n' + note + table(['', 'input', '', 'MiB'], rows) if rows else ''


def _parts(row: dict[str, Any]) -> str:
    wholes = [seconds['whole'] for seconds in row['seconds']]
    rows = [
        [part, *(f'{own[part]:.3f} ({own[part] / whole:.0%})' for own, whole in columns)]
        for columns in [list(zip(row['seconds'], wholes, strict=True))]
        for part in row['seconds'][0]
    ]
    title = f'### Parts of the {_TASKS[row["task"]]}, {_size(row)}\n\n'
    return title + table(['seconds', *row['names']], rows)


def _roofline(results: dict[str, Any]) -> str:
    measured = {(row['task'], _size(row)): row for row in results['rows']}
    rows = []
    for row in results['flops']:
        for index, (name, flops) in enumerate(zip(row['names'], row['flops'], strict=True)):
            own = measured[row['task'], _size(row)]
            took = statistics.median(own['seconds'][index])
            rate = results['matmul_flops'][own['precisions'][index]]
            rows.append(
                [
                    _TASKS[row['task']],
                    _size(row),
                    name,
                    f'{flops / 1e9:.1f}',
                    f'{flops / rate:.3f}',
                    f'{took:.3f}',
                    f'{flops / rate / took:.0%}',
                ]
            )
    titles = ['', 'input', '', 'GFLOP', 'seconds at matmul rate', 'seconds', 'share reached']
    note = 'A multiply-add is two FLOPs here.\n\n'
    return '### Roofline\n\n' + note + table(titles, rows) if rows else ''


def _size(row: dict[str, Any]) -> str:
    return f'{row["size"][0]} x {row["size"][1]}'


def _spread(seconds: list[float]) -> str:
    return f'{statistics.median(seconds):.3f} ({min(seconds):.3f} .. {max(seconds):.3f})'


def _progress(row: dict[str, Any]) -> str:
    text = f'{row["task"]}, {_size(row)}:'
    if 'skipped' in row:
        return f'{text} not measured, {row["skipped"]}'
    parts = [f'time ratio {ratio(*row["seconds"]):.2f}']
    if 'memory' in row:
        parts.append(f'memory ratio {row["memory"][0] / max(row["memory"][1], 1):.2f}')
    return f'{text} {", ".join(parts)}'
