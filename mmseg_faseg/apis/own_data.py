"""Trains on folders of photos and label maps, through a config that is written for them."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..checkpoints.read import check_checkpoint
from ..engine import check_config
from ..errors import UserError
from ..files import check_folder, whole_file
from ..own_data.config import config_text
from ..own_data.examine import Examined
from ..own_data.settings import Machine, Settings, choose
from .checkpoint import find_checkpoint
from .checks import check_pretrained
from .config import load_config, parse_options
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
    options: Sequence[str] | None = None,
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
        options: Settings that the run will change, ``'KEY=VALUE'`` each.

    Raises:
        UserError: An argument is wrong, weights to start from are missing, or there is a run
            already that has another config. Nothing is left behind.
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
    lists = {f'{part}.txt': listed for part, listed in parts.items()}
    if examined.left_out:
        lists['left_out.txt'] = sorted(examined.left_out)
    with _taken_back_after_an_error(file):
        for name, listed in lists.items():
            _write(file.with_suffix('') / name, '\n'.join(listed))
        _write(file, text)
        cfg = load_config(str(file), parse_options(options))
        check_config(cfg)
        if cfg.get('load_from'):
            check_checkpoint(cfg.load_from)
        else:
            check_pretrained(cfg)
    return Prepared(file, settings, machine)


def check_same(
    config: str | Path, *, iters: int | None, batch_size: int | None, crop: int | None
) -> None:
    """Checks that a run goes on with what is asked for, where something is.

    Raises:
        UserError: Its config has another value.
    """
    cfg = load_config(str(config))
    asked = dict(
        iters=('max_iters', iters), batch=('batch_size', batch_size), crop=('crop_size', crop)
    )
    for name, (key, value) in asked.items():
        there = cfg.get(key)
        if value is not None and there not in (value, (value, value)):
            raise UserError(
                f'--resume goes on with {key} = {there}, got --{name} {value}: '
                f'change it in {config}'
            )


def train_config(
    config: str | Path, *, amp: bool = False, options: Sequence[str] | None = None
) -> None:
    """Trains a written config, from its newest checkpoint if there is one.

    Args:
        config: The file.
        amp: Mixed precision.
        options: Settings to change, ``'KEY=VALUE'`` each.

    Raises:
        UserError: There is no such config, or something that training needs is missing.
    """
    train(load_config(str(config), parse_options(options)), resume=True, amp=amp)


@contextmanager
def _taken_back_after_an_error(file: Path) -> Iterator[None]:
    """Makes the folder of a run, and removes it and the config if what follows goes wrong."""
    folder = file.with_suffix('')
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        if new:
            shutil.rmtree(folder)
        raise


def _write(file: Path, text: str) -> None:
    with whole_file(file) as temporary:
        temporary.write_text(f'{text.rstrip()}\n', encoding='utf-8', errors='surrogateescape')
