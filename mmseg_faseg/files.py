"""Files that are written whole or not at all."""

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

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix='.writing-') as folder:
            temporary = Path(folder, path.name)
            yield temporary
            temporary.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch's own writer raises the latter
        raise UserError(f'{path} cannot be written: {error}'.splitlines()[0]) from None
