"""Finds what a run has left in its work dir: checkpoint, config, and where it is from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoints.read import read_checkpoint
from ..errors import UserError
from .checkpoint import find_checkpoint
from .config import load_config
from .stored_config import load_stored_config

_MODEL = re.compile(r'^model = ', re.MULTILINE)
_TRAINING = re.compile(r'^train_dataloader = ', re.MULTILINE)


@dataclass(frozen=True)
class RunFiles:
    """A run as its files tell it.

    Attributes:
        name: As it was given.
        folder: Its work dir.
        checkpoint: The file that predicts.
        entries: What that holds, but for the optimizer.
        cfg: The config.
        config_file: Where the config is from: a file in the work dir, or the checkpoint.
        config_text: As it is written there.
    """

    name: str
    folder: Path
    checkpoint: Path
    entries: dict[str, Any]
    cfg: Config
    config_file: Path
    config_text: str

    @property
    def meta(self) -> dict[str, Any]:
        """What MMEngine stores beside the weights."""
        meta = self.entries.get('meta')
        return meta if isinstance(meta, dict) else {}


def find_run(
    name: str | Path, options: dict[str, Any] | None = None, trust: bool = False
) -> RunFiles:
    """Finds a run.

    Its config is the one that MMEngine wrote to the work dir, the newest with training in it, since
    a test leaves one without; else the one in the checkpoint, as far as
    :func:`mmseg_faseg.apis.load_stored_config` takes it.

    Args:
        name: A work dir, or a checkpoint in one.
        options: See :func:`mmseg_faseg.apis.load_config`.
        trust: As of :func:`mmseg_faseg.apis.load_stored_config`.

    Raises:
        UserError: There is no such run, it has no whole checkpoint, or no config that can be read.
    """
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f'there is no run {name}: give the work dir of a training')
    folder = path if path.is_dir() else path.parent
    checkpoint = Path(find_checkpoint(path))
    entries = read_checkpoint(checkpoint)
    entries.pop('optimizer', None)  # twice as large as the weights, and not asked for
    config = _config_of(folder)
    if config is not None:
        cfg, text = load_config(str(config), options), config.read_text()
    else:
        cfg = load_stored_config(str(checkpoint), options, trust=trust)
        config, text = checkpoint, str(entries['meta']['cfg'])
    return RunFiles(str(name), folder, checkpoint, entries, cfg, config, text)


def _config_of(folder: Path) -> Path | None:
    files = [*folder.glob('*.py'), *folder.glob('*/vis_data/config.py')]
    files.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    texts = {file: file.read_text(errors='replace') for file in files}
    configs = [file for file in files if _MODEL.search(texts[file])]
    training = [file for file in configs if _TRAINING.search(texts[file])]
    return next(iter(training or configs), None)
