"""Remembers what was seen of files that have not changed since, in the user's cache folder."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import platformdirs

from ...errors import UserError
from ...files import whole_file
from ...version import __version__
from .reading import Reader, Seen, is_stock

_FORMAT = 3  # counted up when a check sees more than it did


class SeenFiles:
    """Sound images of a data set, with their annotations, from earlier runs on this machine.

    One counts as unseen once the size or time of one of its files has changed, and where another
    pipeline, other classes or another version looks at it. Transforms whose code may change, those
    that do not come with OpenMMLab, are never remembered.

    Args:
        reader: What reads them.
    """

    def __init__(self, reader: Reader) -> None:
        dataset = reader.dataset
        self._file: Path | None = None
        self._sound: dict[str, dict] = {}
        self._is_new = False
        if not is_stock(reader.steps) or getattr(dataset, 'backend_args', None):
            return
        settings = (
            __version__,
            [repr(step) for step in reader.steps],
            reader.expected,
            sorted(reader.skipped),
            _FORMAT,
            reader.settings(),
            os.path.abspath(dataset.data_root or '.'),
            sorted(dataset.data_prefix.items()),
        )
        name = hashlib.sha256(repr(settings).encode()).hexdigest()[:32]
        self._file = platformdirs.user_cache_path('mmseg_faseg') / 'checked_data' / f'{name}.json'
        self._sound = _read(self._file)

    def get(self, info: dict) -> Seen | None:
        """What was seen of an entry; None if it has to be read."""
        entry = self._sound.get(str(info.get('img_path')))
        if entry is None or entry.get('stamps') != _stamps(info):
            return None
        try:
            counts = {int(label): int(count) for label, count in entry['counts'].items()}
            warnings = [(str(name), str(text)) for name, text in entry['warnings']]
            image, labelled = str(info['img_path']), bool(entry['labelled'])
            return Seen(image, warnings=warnings, counts=counts, labelled=labelled)
        except (AttributeError, LookupError, ArithmeticError, TypeError, ValueError):
            return None  # the memory is damaged

    def add(self, info: dict, seen: Seen) -> None:
        """Remembers an entry, if it is sound."""
        stamps = _stamps(info)
        if self._file is None or stamps is None or seen.problem:
            return
        if self.get(info) is None:
            kept = {key: asdict(seen)[key] for key in ('warnings', 'counts', 'labelled')}
            self._sound[str(info['img_path'])] = {'stamps': stamps, **kept}
            self._is_new = True

    def save(self) -> None:
        """Writes what was added, if the folder can be written."""
        if self._file is None or not self._is_new:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as temporary:
                temporary.write_text(json.dumps(self._sound))
        except (OSError, UserError):
            pass  # read again next time


def _read(file: Path) -> dict[str, dict]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: entry for name, entry in content.items() if isinstance(entry, dict)}


def _stamps(info: dict) -> list[list[int]] | None:
    """Time and size of image and labels, if there are any; None where one is not a local file."""
    labels = info.get('seg_map_path')
    try:
        files = [os.stat(info['img_path'])]
        files += [os.stat(labels)] if labels and os.path.exists(labels) else []
    except (OSError, KeyError, TypeError):
        return None
    return [[file.st_mtime_ns, file.st_size] for file in files]
