"""Tables of what share of which image every class has."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import check_folder, make_folder, whole_file
from .prediction import Prediction

_COLUMNS = ('input', 'class', 'share', 'pixels', 'confidence')
_SUFFIXES = ('.csv', '.json')


class AreaSum:
    """Adds up the areas of a video's frames; of an image there is one."""

    def __init__(self) -> None:
        self.frames = 0
        self.size = (0, 0)
        self.pixels: dict[str, int] = {}
        self.confidence: dict[str, float] = {}

    def add(self, prediction: Prediction) -> None:
        """Adds an image."""
        self.frames += 1
        self.size = prediction.label_map.shape[1], prediction.label_map.shape[0]
        for name, count in prediction.pixels.items():
            sure = count * prediction.confidence[name]
            self.pixels[name] = self.pixels.get(name, 0) + count
            self.confidence[name] = self.confidence.get(name, 0) + sure

    def entry(self) -> dict[str, Any]:
        """Width, height, number of frames, and of each class that occurs, the largest first:
        its share, pixels and mean probability.
        """
        total = sum(self.pixels.values())
        classes = [
            {
                'class': name,
                'share': round(count / total, 6),
                'pixels': count,
                'confidence': round(self.confidence[name] / count, 6),
            }
            for name, count in sorted(self.pixels.items(), key=lambda item: -item[1])
        ]
        return dict(width=self.size[0], height=self.size[1], frames=self.frames, classes=classes)


def check_tables(paths: Sequence[str | Path]) -> None:
    """Checks, before any work is done, that tables can be written.

    Raises:
        UserError: One is neither CSV nor JSON, or its folder cannot be made.
    """
    for path in map(Path, paths):
        if path.suffix not in _SUFFIXES:
            raise UserError(f'--areas takes a file that ends in .csv or .json, got {path}')
        if path.is_dir():
            raise UserError(f'--areas takes a file, got the folder {path}')
        check_folder(path.parent, 'the folder of --areas')


def write_table(path: str | Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Writes a table, as CSV with a line for every class of an image, or as JSON.

    Args:
        path: A file that ends in ``.csv`` or ``.json``; its folder is made.
        entries: Of each image what :meth:`AreaSum.entry` gives, and ``'input'``, its path.

    Raises:
        UserError: It cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    with whole_file(path) as temporary:
        if path.suffix == '.json':
            temporary.write_text(json.dumps(list(entries), indent=1))
            return
        # Names of files need not be text: they keep their bytes.
        with temporary.open('w', newline='', encoding='utf-8', errors='surrogateescape') as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            for entry in entries:
                for found in entry['classes']:
                    table.writerow([entry['input'], *(found[name] for name in _COLUMNS[1:])])
