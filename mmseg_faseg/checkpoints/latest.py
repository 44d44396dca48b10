"""Finds the checkpoint to go on from among those in a work dir."""

import os
import re
from pathlib import Path

from ..errors import UserError
from .read import read_checkpoint

_NAME = re.compile(r'(iter|epoch)_\d+\.pth$')
_TO_GO_ON = ('state_dict', 'meta', 'message_hub', 'optimizer')


def newest_whole_checkpoint(work_dir: str | Path) -> tuple[Path | None, list[str]]:
    """The checkpoint written last that can be read and gone on from.

    Args:
        work_dir: Folder of a run. The file that its ``last_checkpoint`` names is tried first,
            in the folder too, if that was moved; then the others, the last written first.

    Returns:
        The file, or None where the folder has no checkpoint; and why each one before it was passed
        over.

    Raises:
        UserError: There are checkpoints, and none is whole. Beginning anew would overwrite them.
    """
    passed_over: list[str] = []
    for path in _candidates(Path(work_dir)):
        try:
            checkpoint = read_checkpoint(path)
        except UserError as error:
            passed_over.append(str(error))
            continue
        missing = [key for key in _TO_GO_ON if not isinstance(checkpoint.get(key), dict)]
        if not missing:
            return path, passed_over
        passed_over.append(f'{path} has no {missing[0]}: it is not one to go on from')
    if passed_over:
        raise UserError(
            f'no checkpoint in {work_dir} can be gone on from: {"; ".join(passed_over)}. '
            'Move them away to begin anew'
        )
    return None, []


def _candidates(work_dir: Path) -> list[Path]:
    files = [path for path in work_dir.glob('*.pth') if _NAME.match(path.name)]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        named = Path(pointer.read_text(errors='replace').strip())
        files.sort(key=lambda path: path.name != named.name)
        # Unlike Path.is_file, it takes names of any length.
        if os.path.isfile(named) and named.resolve() not in [path.resolve() for path in files]:
            files.insert(0, named)  # with the hook's `out_dir`, checkpoints are elsewhere
    return files
