"""Which file is meant where a checkpoint is asked for: a file, a work dir, or a released model."""

import os
from pathlib import Path

from ..checkpoints.latest import newest_whole_checkpoint
from ..errors import UserError


def find_checkpoint(name: str | Path) -> str:
    """Finds the checkpoint that is meant.

    Args:
        name: A file or an address, which is meant itself; or a work dir, whose best checkpoint is
            meant, else its newest.

    Raises:
        UserError: The folder has no checkpoint.
    """
    folder = Path(os.path.expanduser(name))
    if not os.path.isdir(folder):  # which takes names of any length
        return str(name)
    best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime_ns)
    path = best[-1] if best else newest_whole_checkpoint(folder)[0]
    if path is None:
        raise UserError(f'{name} has no checkpoint: give a .pth file or the work dir of a run')
    return str(path)
