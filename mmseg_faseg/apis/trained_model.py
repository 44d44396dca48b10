"""A model with its weights, ready to predict, and what its classes are called."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmseg.models import BaseSegmentor
from mmseg.registry import DATASETS

from ..checkpoints.read import read_checkpoint
from ..engine.checkpoint_check import weights_to_predict_with
from ..errors import UserError
from ..explain.palette import default_palette
from .checkpoint import find_checkpoint
from .config import datasets_of, load_config
from .model import build_model
from .stored_config import load_stored_config

Palette = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class TrainedModel:
    """A segmentor in evaluation mode.

    Attributes:
        model: The segmentor.
        cfg: Its config.
        checkpoint: Where its weights are from.
        classes: Names of its K classes.
        palette: RGB of each, 0 to 255.
    """

    model: BaseSegmentor
    cfg: Config
    checkpoint: str
    classes: tuple[str, ...]
    palette: Palette


def load_segmentor(
    checkpoint: str | Path,
    config: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
) -> TrainedModel:
    """Loads a model that tells the class of every pixel.

    Args:
        checkpoint: A file, or the work dir of a run.
        config: Its config; the one that the checkpoint carries if None.
        device: Such as ``'cpu'`` or ``'cuda:1'``; a GPU where there is one if None.
        trust: As of :func:`mmseg_faseg.apis.load_stored_config`.

    Raises:
        UserError: There is no such file or device, weights and config are of different models, or
            the model detects objects.
    """
    place = _device(device)
    file = find_checkpoint(checkpoint)
    contents = read_checkpoint(file)
    cfg = load_stored_config(file, trust=trust) if config is None else load_config(str(config))
    if not isinstance(cfg.get('model'), dict) or 'decode_head' not in cfg.model:
        kind = (cfg.get('model') or {}).get('type')
        raise UserError(
            f'{file} holds a {kind}, which finds objects: this takes models of semantic '
            'segmentation, and tools/mmdet_tool.py test those of MMDetection'
        )
    model: BaseSegmentor = build_model(cfg)
    model.load_state_dict(weights_to_predict_with(model, contents, file), strict=False)
    count = model.decode_head.out_channels
    if count < 2:
        raise UserError(f'{file} has one output channel: this takes models of two and more classes')
    classes, palette = _classes(contents.get('meta'), cfg, count)
    return TrainedModel(model.to(place).eval(), cfg, file, classes, palette)


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(get_device() if name is None else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'device {name!r} cannot be used: {reason}') from None
    return device


def _classes(meta: Any, cfg: Config, count: int) -> tuple[tuple[str, ...], Palette]:
    """Names and colours of classes: the first that there are of the right number."""
    for info in _descriptions(meta, cfg):
        names, palette = info.get('classes'), info.get('palette')
        if isinstance(names, list | tuple) and len(names) == count:
            colours = palette if _is_palette(palette, count) else None
            return _different(map(str, names)), _rgb(colours or default_palette(count))
    return tuple(f'class {index}' for index in range(count)), tuple(default_palette(count))


def _descriptions(meta: Any, cfg: Config) -> Iterator[dict]:
    """What says how classes are called: the checkpoint, the config, the kind of data set."""
    if isinstance(meta, dict) and isinstance(meta.get('dataset_meta'), dict):
        yield meta['dataset_meta']
    for dataset in datasets_of(cfg.get('test_dataloader')):
        yield dataset.get('metainfo') or {}
        with DefaultScope.overwrite_default_scope('mmseg'):
            yield getattr(DATASETS.get(str(dataset.get('type'))), 'METAINFO', {})


def _rgb(colours: Any) -> Palette:
    return tuple((red, green, blue) for red, green, blue in colours)


def _is_palette(palette: Any, count: int) -> bool:
    return (
        isinstance(palette, list | tuple)
        and len(palette) == count
        and all(isinstance(colour, list | tuple) and len(colour) == 3 for colour in palette)
        and all(type(part) is int and 0 <= part < 256 for colour in palette for part in colour)
    )


def _different(names: Iterator[str]) -> tuple[str, ...]:
    """Names of which none occurs twice: later ones get their number."""
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        found[name if name not in found else f'{name} ({index})'] = index
    return tuple(found)
