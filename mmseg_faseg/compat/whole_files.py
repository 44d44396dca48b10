"""Files that MMEngine writes are whole or not there, whenever the process is killed."""

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from ..files import whole_file


class WholeFileBackend(LocalBackend):
    """MMEngine's ``LocalBackend``, with writes that put a file in its place in one step.

    MMEngine writes checkpoints and the results of tests this way.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes; folders are made.

        Raises:
            UserError: The file cannot be written. What was there before is untouched.
        """
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(filepath) as temporary:
            temporary.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Writes text as :meth:`put` writes bytes."""
        self.put(obj.encode(encoding), filepath)


def write_whole_files() -> None:
    """Has MMEngine write its files with :class:`WholeFileBackend`. Twice is harmless."""
    register_backend('local', WholeFileBackend, force=True, prefixes='')
