"""A folder of arrays that were expensive to make, shared by all processes that name it."""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from ..errors import UserError
from ..files import whole_file

try:
    import fcntl
except ImportError:  # Windows, where the count may fall behind when several processes write
    fcntl = None

_DIGITS = 20  # of the count of bytes, so that one write replaces it whole


class ArrayCache:
    """Keeps arrays as ``.npy`` files; memory for them is the system's page cache.

    So all workers of all processes share one copy, which the system drops when memory is needed
    for something else (in ``/dev/shm`` the files are memory, and stay). Files are written whole
    or not at all, and none is removed: in random order no image is more likely to be next than
    another, so what came first stays until the folder is full.

    Args:
        folder: Made if it is not there.
        max_bytes: Upper limit of what all processes together write to the folder.

    Raises:
        UserError: ``max_bytes`` is below 1, or nothing can be written to the folder.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        if max_bytes < 1:
            raise UserError(f'max_bytes of a cache must be at least 1, got {max_bytes}')
        self.folder = Path(folder).absolute()
        self.max_bytes = max_bytes
        self._full = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._reserve(0)
        except (OSError, ValueError) as error:
            raise UserError(f'cache_dir: cannot write to {folder}: {error}') from None

    def file_for(self, source: str, *settings: object) -> Path | None:
        """Where the array made from a file is kept.

        Args:
            source: The file. A change of its size or time of modification gives another place.
            settings: All else that the array depends on, by their ``repr``.

        Returns:
            The place, or None where the system knows no such file.
        """
        try:
            status = os.stat(source)
        except OSError:
            return None
        origin = (os.path.abspath(source), status.st_size, status.st_mtime_ns, *settings)
        return self.folder / f'{hashlib.sha256(repr(origin).encode()).hexdigest()}.npy'

    def read(self, file: Path) -> np.ndarray | None:
        """The array, in memory of the caller's own; None if it is not there or damaged."""
        try:
            return np.load(file)
        except (OSError, ValueError, EOFError):
            return None

    def write(self, file: Path, array: np.ndarray) -> None:
        """Keeps an array unless the folder is full.

        When the limit is reached or the disk refuses, this process says so once and keeps no more.
        """
        if self._full:
            return
        try:
            if not self._reserve(array.nbytes):
                self._stop(f'its limit of {self.max_bytes / 2**30:.1f} GiB is reached')
                return
            with whole_file(file) as temporary:
                np.save(temporary, array)
        except (OSError, ValueError) as error:  # UserError is a ValueError
            self._stop(str(error))

    def _reserve(self, count: int) -> bool:
        """Adds to the bytes written by all processes, if that keeps to the limit."""
        counter = os.open(self.folder / 'bytes', os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(counter, fcntl.LOCK_EX)  # until it is closed
            written = int(os.read(counter, _DIGITS) or 0) + count
            if written > self.max_bytes:
                return False
            os.lseek(counter, 0, os.SEEK_SET)
            os.write(counter, b'%0*d' % (_DIGITS, written))
            return True
        finally:
            os.close(counter)

    def _stop(self, reason: str) -> None:
        self._full = True
        print_log(
            f'The cache {self.folder} takes no more images: {reason}. '
            'The others are decoded each time.',
            'current',
            logging.WARNING,
        )
