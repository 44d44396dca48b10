"""Results as JSON, and the same as Markdown; both are written anew after every result."""

import json
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmseg_faseg.errors import UserError
from mmseg_faseg.files import whole_file


class Report:
    """Results in a folder, as ``NAME.json`` and ``NAME.md``.

    Args:
        folder: Made at the first result if it is not there.
        name: Of the files.
        markdown: Makes the Markdown text of the results.
        results: What is known before anything is measured.

    Attributes:
        results: What ``NAME.json`` holds.
    """

    def __init__(
        self, folder: str | Path, name: str, markdown: Callable[[dict], str], **results: Any
    ) -> None:
        self.json = Path(folder, f'{name}.json')
        self.markdown = Path(folder, f'{name}.md')
        self.results = results
        self._to_markdown = markdown

    def write(self) -> None:
        """Writes both files.

        Raises:
            UserError: They cannot be written.
        """
        try:
            self.json.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'{self.json.parent}: {error.strerror}') from None
        with whole_file(self.json) as temporary:
            temporary.write_text(json.dumps(self.results, indent=1) + '\n')
        with whole_file(self.markdown) as temporary:
            temporary.write_text(self._to_markdown(self.results))

    def add(self, kind: str, row: dict[str, Any], progress: str) -> None:
        """Adds to a list of the results, writes them, and prints a line about it."""
        self.results.setdefault(kind, []).append(row)
        self.write()
        print(progress, flush=True)

    @contextmanager
    def kept_at_interruption(self) -> Iterator[None]:
        """Prints the report at the end; after Ctrl-C says where it is, and ends the program."""
        try:
            yield
        except KeyboardInterrupt:
            print(f'\ninterrupted; what there is so far: {self.markdown}', file=sys.stderr)
            sys.exit(130)
        print(f'\n{self.markdown.read_text()}\n{self.markdown}, {self.json.name}')


def check_folder(folder: str | Path, option: str = '--out') -> None:
    """Checks that a folder is there or can be made, and makes nothing.

    Raises:
        UserError: Names the option and what is in the way.
    """
    there = Path(folder).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise UserError(f'{option}: no folder can be made at {folder}: {there} is a file')
    if not os.access(there, os.W_OK):
        raise UserError(f'{option}: no folder can be made at {folder}: {there} is read-only')


def table(titles: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ['---'] * len(titles), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def mean_and_deviation(values: Iterable[float | None]) -> str:
    """Such as '48.30 ± 0.25', of the values there are; '' if there are none."""
    values = [value for value in values if value is not None]
    if not values:
        return ''
    spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.2f}{spread}'


def at_least(least: float, **values: float | None) -> None:
    """Checks numbers of the command line, given by option: ``at_least(1, repeats=3)``.

    Raises:
        UserError: One is smaller, or no number; None is not checked.
    """
    for name, value in values.items():
        if value is not None and not value >= least:
            option = name.replace('_', '-')
            raise UserError(f'--{option} must be at least {least}, got {value:g}')


def above_zero(**values: float | None) -> None:
    """As :func:`at_least`, for numbers that must be more than 0 and finite.

    Raises:
        UserError: One is not; None is not checked.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < float('inf'):
            option = name.replace('_', '-')
            raise UserError(f'--{option} must be a number above 0, got {value:g}')
