"""Trains on folders of photos and label maps, through a config that is written for them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..files import check_folder, whole_file
from ..own_data.config import config_text
from ..own_data.examine import Examined
from ..own_data.settings import Machine, Settings, choose
from .checkpoint import find_checkpoint
from .config import load_config
from .run import train


class Prepared(NamedTuple):
    """A run that can start.

    Attributes:
        config: The file that was written.
        settings: What was chosen.
        machine: What it was chosen for.
    """

    config: Path
    settings: Settings
    machine: Machine


def prepare(
    examined: Examined,
    out: str,
    *,
    command: Sequence[str],
    model: str | None = None,
    start: str | None = None,
    crop: int | None = None,
    batch_size: int | None = None,
    iters: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Writes the config of a run, and which images it trains and validates on.

    Args:
        examined: What was found, with which training would start.
        out: Work dir of the run; the config lies beside it, ``runs/street.py`` beside
            ``runs/street``.
        command: What the user typed, for the config's first lines.
        model: See :func:`mmseg_faseg.own_data.settings.choose`, as the next ones.
        start: Checkpoint or work dir to start from.
        crop: Pixels.
        batch_size: Crops.
        iters: Iterations.
        seed: Of everything that is drawn.

    Raises:
        UserError: An argument is wrong, or there is a run already that has another config.
    """
    if not examined.starts or examined.classes is None or examined.parts is None:
        raise UserError(f'{examined.found.images} is nothing to train on: faseg check says why')
    check_folder(out, '--out')
    file = Path(f'{out.rstrip("/")}.py')
    parts = dict(train=examined.parts.train, val=examined.parts.val)
    names = {name for part in parts.values() for name in part}
    machine = Machine.here()
    settings = choose(
        [pair for pair in examined.used.pairs if pair.name in names],
        machine,
        model=model,
        crop=crop,
        batch_size=batch_size,
        iters=iters,
    )
    text = config_text(
        file,
        examined.used,
        examined.classes,
        settings,
        command=command,
        start=None if start is None else os.path.abspath(find_checkpoint(start)),
        seed=seed,
    )
    if file.exists():
        raise UserError(
            f'{file} is there already: --resume goes on with it as it is, --out another/folder '
            f'begins a new run, and so does removing {file} and {file.with_suffix("")}'
        )
    folder = file.with_suffix('')
    folder.mkdir(parents=True, exist_ok=True)
    for part, listed in parts.items():
        _write(folder / f'{part}.txt', '\n'.join(listed))
    if examined.left_out:
        _write(folder / 'left_out.txt', '\n'.join(sorted(examined.left_out)))
    _write(file, text)
    return Prepared(file, settings, machine)


def train_config(config: str | Path, *, amp: bool = False) -> None:
    """Trains a written config, from its newest checkpoint if there is one.

    Raises:
        UserError: There is no such config, or something that training needs is missing.
    """
    train(load_config(str(config)), resume=True, amp=amp)


def _write(file: Path, text: str) -> None:
    with whole_file(file) as temporary:
        temporary.write_text(f'{text.rstrip()}\n', encoding='utf-8')
