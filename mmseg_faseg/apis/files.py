"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


def check_output(path: str | Path, suffix: str) -> None:
    """Checks, before any work is done, that a file can be written.

    Raises:
        UserError: Its folder does not exist, it is a folder itself, or its suffix is another.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise UserError(f'the output must end in {suffix}, got {path}')
    if path.is_dir():
        raise UserError(f'the output {path} is a folder, not a file')
    if not path.absolute().parent.is_dir():
        raise UserError(f'there is no folder {path.parent} to write {path.name} to')


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary file beside ``path`` to write to, and renames it when that went well.

    After an error nothing is left behind, and a file that was there before is untouched.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
