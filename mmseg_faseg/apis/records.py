"""What of a folder of predictions is done, and by which model with which settings."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError, reason_of
from ..files import make_folder, whole_file
from .inputs import Input

NAME = 'predictions.jsonl'


class Records:
    """A file with a line for each input that is done, written when its results are.

    Args:
        folder: Where predictions go.
        settings: What all of them are made with; the file's first line.
        resume: Whether to go on with what is there; else the file begins anew.

    Raises:
        UserError: What is there was made with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder = folder
        self.file = folder / NAME
        self.settings = settings
        self.done: dict[str, dict] = {}  # by the name of its results
        if resume and self.file.exists():
            self._read(settings)

    def begin(self) -> None:
        """Writes anew what is done, before more is added.

        Raises:
            UserError: The file cannot be written.
        """
        make_folder(self.folder)
        lines = [self.settings, *self.done.values()]
        with whole_file(self.file) as temporary:
            temporary.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))

    def _read(self, settings: Mapping[str, Any]) -> None:
        lines = []
        for text in self.file.read_text(errors='replace').splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:  # the last one, if the disk was full
                continue
        before = lines[0] if lines else {}
        changed = [key for key, value in settings.items() if before.get(key) != value]
        if changed:
            key = changed[0]
            raise UserError(
                f'--resume: {self.folder} has predictions made with {key} {before.get(key)}, this '
                f'is {settings[key]}: take another --out, or leave out --resume'
            )
        self.done = {entry['name']: entry for entry in lines[1:]}

    def is_done(self, one: Input) -> bool:
        """Whether an input's results are there, and the input is as it was then."""
        entry = self.done.get(one.name, {})
        return entry.get('state') == file_state(one.path) and all(
            (self.folder / file).is_file() for file in entry['files']
        )

    def add(self, one: Input, files: list[str], areas: Mapping[str, Any]) -> None:
        """Notes that an input is done.

        Args:
            one: The input.
            files: Its results, as paths below the folder.
            areas: As of :meth:`.area_tables.AreaSum.entry`.

        Raises:
            UserError: The file cannot be written.
        """
        entry = dict(
            input=one.path, name=one.name, state=file_state(one.path), files=files, **areas
        )
        self.done[one.name] = entry
        try:
            with self.file.open('a') as file:
                file.write(f'{json.dumps(entry)}\n')
        except OSError as error:
            raise UserError(f'{self.file} cannot be written: {reason_of(error)}') from None


def file_state(path: str) -> list[Any]:
    """Tells a file from what it was, or from another of its name."""
    try:
        state = os.stat(path)
    except OSError:  # a link to nowhere, or gone since
        return [os.path.abspath(path)]
    return [os.path.abspath(path), state.st_size, state.st_mtime_ns]
