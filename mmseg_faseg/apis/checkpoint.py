"""Which file is meant where a checkpoint is asked for: a file, a work dir, or a released model."""

import os
from pathlib import Path

from ..checkpoints.latest import newest_whole_checkpoint
from ..checkpoints.released import released_models
from ..errors import UserError


def find_checkpoint(name: str | Path) -> str:
    """Finds the checkpoint that is meant.

    Args:
        name: A file or an address, which is meant itself; a work dir, whose best checkpoint is
            meant, else its newest; or the name of a released model, if there is no such file.

    Raises:
        UserError: The folder has no checkpoint, or the model's has not been fetched.
    """
    path = os.path.expanduser(name)
    if os.path.isdir(path):  # which takes names of any length
        return str(_in_work_dir(Path(path)))
    model = None if os.path.exists(path) else released_models().get(str(name))
    if model is None:
        return str(name)
    if not model.converted.is_file():
        raise UserError(f'{name} is not here yet: faseg weights {name} fetches it')
    return str(model.converted)


def _in_work_dir(folder: Path) -> Path:
    best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime_ns)
    path = best[-1] if best else newest_whole_checkpoint(folder)[0]
    if path is None:
        raise UserError(f'{folder} has no checkpoint: give a .pth file or the work dir of a run')
    return Path(path)
