"""Turns released checkpoints into checkpoints of this project, accounting for every key."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from torch import Tensor

from ..checkpoints.convert.reader import read_released
from ..checkpoints.convert.recognise import Model, recognise
from ..checkpoints.convert.renaming import account_for, rename, rename_pvt
from ..checkpoints.read import check_checkpoint
from ..errors import UserError
from ..files import check_output, whole_file
from ..version import __version__
from .config import datasets_of, load_config
from .model import build_model

LICENCES = {
    'FASeg': (
        "The authors' FASeg weights are under CC BY-NC 4.0, and so is what is made of them: name "
        'the authors (He et al., CVPR 2023), say that the weights were converted, keep this '
        'notice; no commercial use.'
    ),
    'Mask2Former': (
        "Mask2Former's published weights are under CC BY-NC 4.0, and so is what is made of them: "
        'name the authors (Cheng et al., CVPR 2022), say that the weights were converted, keep '
        'this notice; no commercial use.'
    ),
    'Panoptic SegFormer': (
        "Panoptic SegFormer's published weights are under Apache-2.0: name the authors (Li et al., "
        'CVPR 2022) and say that the weights were converted.'
    ),
    'ImageNet': 'The terms of the original weights apply to the converted ones.',
}


class Conversion(NamedTuple):
    """Where every key went.

    Attributes:
        model: What the checkpoint held.
        config: The config it became a checkpoint of.
        weights: Ours, by our names.
        sources: Our names, and the released names of what they came from.
        dropped: Released names that found no place, and why.
        new: Our names that nothing came from, and why none is needed.
    """

    model: Model
    config: Config
    weights: dict[str, Tensor]
    sources: dict[str, str]
    dropped: dict[str, str]
    new: dict[str, str]


def convert_file(source: str, target: str, config: str | None = None) -> Conversion:
    """Converts a released checkpoint file.

    Args:
        source: FASeg or Mask2Former as trained with detectron2, ``.pth`` or ``.pkl``, Panoptic
            SegFormer as trained with MMDetection 2, or an ImageNet Swin of the original repository.
        target: The ``.pth`` to write. It holds ``state_dict`` and, in ``meta``, the config, the
            classes, their palette, where the weights came from and their licence. A backbone's
            has no ``backbone.`` in its keys: name it as ``model.backbone.init_cfg.checkpoint``.
        config: The config to convert for; recognised from the keys if None.

    Returns:
        Where every key went.

    Raises:
        UserError: Says what does not fit; ``target`` is untouched.
    """
    source, target = (str(Path(path).expanduser()) for path in (source, target))
    check_output(target, '.pth')
    check_checkpoint(source)
    if Path(target).exists() and Path(target).samefile(source):
        raise UserError(f'{target} is the file to convert: give the converted one another name')
    weights = read_released(source)
    try:
        conversion = convert(weights, config)
    except UserError as error:
        raise UserError(f'{source}: {error}') from None
    checkpoint = dict(meta=_meta(conversion, source), state_dict=conversion.weights)
    with whole_file(target) as temporary:
        torch.save(checkpoint, temporary)
    return conversion


def convert(weights: dict[str, Tensor], config: str | None = None) -> Conversion:
    """Converts released weights; see :func:`convert_file`.

    Args:
        weights: By their released names.
        config: The config to convert for; recognised from the keys if None.

    Raises:
        UserError: A key is unknown, missing or of another shape.
    """
    if 'patch_embed.proj.weight' in weights:
        weights = {f'backbone.{key}': value for key, value in weights.items()}
    model = recognise(weights)
    if model.family == 'PVTv2':
        weights = rename_pvt(weights)
    cfg = load_config(config or model.config)
    own = build_model(cfg).state_dict()
    cfg.model.backbone.init_cfg = None  # its weights come with the rest
    accounts = account_for(weights, model, own, cfg.filename)
    _check_classes(model, cfg)
    _check_normalisation(weights, cfg)
    converted = rename(weights, accounts.sources, own)
    if model.method == 'ImageNet':
        converted = {key.removeprefix('backbone.'): value for key, value in converted.items()}
    return Conversion(model, cfg, converted, *accounts)


def _check_classes(model: Model, cfg: Config) -> None:
    classes = _dataset_meta(cfg)['classes']
    if model.num_classes not in (None, len(classes)):
        kind = next(datasets_of(cfg.test_dataloader)).type
        raise UserError(
            f'{model} got a config for other data: {kind} in {cfg.filename} has {len(classes)} '
            'classes'
        )


def _dataset_meta(cfg: Config) -> dict:
    """Classes, palette and what else the config's test set says about itself."""
    dataset = next(datasets_of(cfg.get('test_dataloader')), None)
    scope = cfg.get('default_scope', 'mmseg')
    kind = DATASETS.get(f'{scope}.{dataset.type}') if dataset else None
    meta = {**getattr(kind, 'METAINFO', {}), **(dataset or {}).get('metainfo', {})}
    if isinstance(meta.get('classes', ''), str):
        raise UserError(f'config {cfg.filename} has no test set with a list of classes')
    return meta


def _check_normalisation(weights: dict[str, Tensor], cfg: Config) -> None:
    """The image mean and deviation in a checkpoint are those of the config."""
    for key, name in (('pixel_mean', 'mean'), ('pixel_std', 'std')):
        if key not in weights:
            continue
        expected = torch.tensor((cfg.model.get('data_preprocessor') or {}).get(name) or ())
        got = weights[key].flatten().float()
        if got.shape != expected.shape or not torch.allclose(got, expected, atol=1e-3):
            raise UserError(
                f'{key} is {got.tolist()}, but data_preprocessor.{name} in {cfg.filename} is '
                f'{expected.tolist()}'
            )


def _meta(conversion: Conversion, source: str) -> dict:
    """What a checkpoint says about itself: all that testing and inference need."""
    with open(source, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    meta = dict(
        mmseg_faseg_version=__version__,
        converted_from=dict(file=Path(source).name, sha256=digest, model=str(conversion.model)),
        license=LICENCES[conversion.model.method],
    )
    if conversion.model.method == 'ImageNet':
        return meta
    cfg = conversion.config
    return dict(cfg=cfg.pretty_text, dataset_meta=_dataset_meta(cfg), **meta)
