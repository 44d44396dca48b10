"""Shows what a model's queries look at in an image."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

from ..checkpoints.read import read_checkpoint
from ..datasets.read_image import read_image
from ..errors import UserError
from ..explain.as_faseg import as_faseg
from ..explain.explanation import ModelView, view_of
from ..explain.page import write_page
from ..explain.recorder import mask_head_of
from ..files import check_folder
from .checkpoint import find_checkpoint
from .config import load_config
from .model import load_model
from .stored_config import load_stored_config
from .trained_model import Palette, classes_of

LONGEST = 2048


def explain(
    checkpoint: str | Path,
    image: str | Path,
    out: str | Path = 'explained',
    *,
    queries: Sequence[int] | None = None,
    beside: str | Path | None = None,
    longest: int = LONGEST,
    config: str | Path | None = None,
    trust: bool = False,
) -> list[Path]:
    """Writes an HTML page, and its pictures as PNG, about what queries look at in an image.

    Args:
        checkpoint: A checkpoint, or a work dir.
        image: An image file.
        out: Folder to write to.
        queries: Which queries to show; of each class found the one that adds most to it if None.
        beside: Checkpoint of another model with the same classes, such as a Mask2Former.
        longest: An image with a longer side, in pixels, is made smaller first.
        config: The config of ``checkpoint``; the one that it carries if None.
        trust: As of :func:`.stored_config.load_stored_config`.

    Returns:
        The files that were written, the page first.

    Raises:
        UserError: A file is missing or no image, a model has no decoder that can be recorded, there
            is no such query, or the two models have other classes.
    """
    check_folder(out, 'out')
    if longest < 1:
        raise UserError(f'longest must be at least 1 pixel, got {longest}')
    pixels = _smaller(read_image(image), longest)
    model = _load(checkpoint, trust, config)
    _check_queries(queries, model)
    other = None if beside is None else _load(beside, trust)
    if other is not None and [*other.classes] != [*model.classes]:
        raise UserError(
            f'{beside} was made for other classes than {checkpoint}: '
            f'{", ".join(other.classes)} instead of {", ".join(model.classes)}'
        )
    view = model.view(pixels)
    folder = Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return write_page(
        folder, Path(image).stem, view, queries, None if other is None else other.view(pixels)
    )


class _Model(NamedTuple):
    """A model, and what its checkpoint says about it."""

    name: str
    network: nn.Module
    cfg: Config
    classes: tuple[str, ...]
    palette: Palette

    def view(self, pixels: np.ndarray) -> ModelView:
        """Runs it on an image, RGB (H, W, 3) uint8."""
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'mmseg')):
            item = _pipeline(self.cfg)(dict(img=pixels[..., ::-1].copy(), img_id=0))
        return view_of(self.name, self.network, item, self.classes, self.palette)


def _load(name: str | Path, trust: bool, config: str | Path | None = None) -> _Model:
    checkpoint = find_checkpoint(name)
    if config is None:
        cfg = load_stored_config(checkpoint, trust=trust)
    else:
        cfg = load_config(str(config))
    cfg.model = as_faseg(cfg.model)
    entries = read_checkpoint(checkpoint)
    network = load_model(cfg, entries, checkpoint)
    try:
        head = mask_head_of(network)
    except TypeError as error:
        raise UserError(f'{checkpoint} cannot be explained: {error}') from None
    names = classes_of(entries.get('meta'), cfg, head.num_classes)
    return _Model(str(name), network, cfg, *names)


def _pipeline(cfg: Config) -> Compose:
    """From an array to the network's input: the test pipeline without files."""
    steps = []
    for step in copy.deepcopy(cfg.test_dataloader.dataset.pipeline):
        kind = str(step.type).rpartition('.')[2]
        if kind == 'LoadImageFromFile':
            step.type = 'LoadImageFromNDArray'
        if kind not in ('LoadAnnotations', 'LoadPanopticAnnotations'):
            steps.append(step)
    return Compose(steps)


def _check_queries(queries: Sequence[int] | None, model: _Model) -> None:
    count = mask_head_of(model.network).num_queries
    for query in queries or ():
        if not 0 <= query < count:
            raise UserError(
                f'there is no query {query}: {model.name} has {count}, from 0 to {count - 1}'
            )


def _smaller(pixels: np.ndarray, longest: int) -> np.ndarray:
    """An image with no longer side than so many pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest))
    return np.asarray(picture)
