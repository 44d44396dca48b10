"""Files that are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError, is_of_torch_writer, reason_of

_WRITING = '.writing-'  # names of folders for files that are being written


def check_output(path: str | Path, suffix: str) -> None:
    """Checks, before any work is done, that a file can be written.

    Raises:
        UserError: Its folder does not exist or is read-only, it is a folder itself, or its suffix
            is another.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise UserError(f'the output must end in {suffix}, got {path}')
    if path.is_dir():
        raise UserError(f'the output {path} is a folder, not a file')
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f'there is no folder {path.parent} to write {path.name} to')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f'nothing can be written to {folder}, where {path.name} is to be')


def check_folder(path: str | Path, name: str) -> None:
    """Checks, before any work is done, that a folder is there or can be made.

    Args:
        path: The folder.
        name: What it is given by, such as ``'work_dir'``, for the error.

    Raises:
        UserError: There is a file in its place or above it, or nothing can be written there.
    """
    path = Path(path).expanduser().absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        raise UserError(f'{name} must be a folder, got {path}, where {there} is a file')
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f'{name} is {path}, but nothing can be written to {there}')


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, unless it is there.

    Raises:
        UserError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{path} cannot be made: {error.strerror}') from None


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary file beside ``path`` to write to, and renames it when that went well.

    It is forced to the disk before it gets its name. After an error nothing is left behind, and a
    file that was there before is untouched; after a kill :func:`forget_unfinished` tidies up.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_WRITING) as folder:
            temporary = Path(folder, path.name)
            yield temporary
            _to_disk(temporary)
            temporary.replace(path)
        _to_disk(path.parent)
    except (OSError, RuntimeError) as error:  # PyTorch's own writer raises the latter
        if isinstance(error, RuntimeError) and not is_of_torch_writer(error):
            raise
        raise UserError(f'{path} cannot be written: {reason_of(error)}') from None


def forget_unfinished(folder: str | Path) -> None:
    """Removes what killed processes have left of files that they were writing to a folder."""
    for unfinished in Path(folder).glob(f'{_WRITING}*'):
        shutil.rmtree(unfinished, ignore_errors=True)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # not every file system knows how to do that with folders
        if path.is_file():
            raise
    finally:
        os.close(handle)
