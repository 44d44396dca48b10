"""Starts FASeg from a checkpoint of MMSegmentation's or MMDetection's Mask2Former."""

import re
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

# MMSegmentation's head and MMDetection's.
_HEAD = re.compile(r'(?:decode|panoptic)_head\.')
_LAYER = re.compile(_HEAD.pattern + r'transformer_decoder\.layers\.(\d+)(\..+)')
_MASK2FORMER_LEVELS = 3
_ONLY_FASEG = re.compile(_HEAD.pattern + r'(positional_query|pixel_decoder\.positional_encoding)\.')


class InitReport(NamedTuple):
    """Keys of a partial initialisation.

    Attributes:
        taken: The model's keys that came from the checkpoint.
        new: The model's keys that keep their own initialisation.
        left: The checkpoint's keys that found no place.
    """

    taken: list[str]
    new: list[str]
    left: list[str]


def load_mask2former(model: nn.Module, path: str) -> InitReport:
    """Initialises a FASeg segmentor or detector from Mask2Former's, and logs what was taken.

    Layers are mapped round by round: Mask2Former's layer 3 r + j visits level j, as FASeg's layer
    4 r + j does; the layers on level 3 are new. The classifier is taken if the number of classes
    is the same. Segmentors start from detectors, too, and the other way round.

    Args:
        model: A segmentor with a ``FASegHead``, or a detector with a ``FASegPanopticHead``.
        path: File or URL of the checkpoint.

    Returns:
        What was taken, what is new and what was left.

    Raises:
        ValueError: If the file is no Mask2Former checkpoint, or one for another backbone or width.
    """
    source = _read(path)
    prefix = 'panoptic_head.' if hasattr(model, 'panoptic_head') else 'decode_head.'
    head: Any = model.get_submodule(prefix[:-1])
    own = model.state_dict()
    mapped = {
        _rename(key, prefix, head.num_transformer_feat_level): (key, value)
        for key, value in source.items()
    }
    taken, left = {}, []
    for name, (key, value) in mapped.items():
        fitted = _fit(name, value, own)
        if fitted is None:
            left.append(key)
        else:
            taken[name] = fitted
    report = InitReport(list(taken), [name for name in own if name not in taken], left)
    _check(report, path, own, mapped)
    model.load_state_dict(taken, strict=False)
    _log(report, path)
    return report


def _read(path: str) -> dict[str, Tensor]:
    """The weights in a Mask2Former checkpoint."""
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    if not any(_LAYER.match(key) for key in weights):
        raise ValueError(
            f'{path} is no Mask2Former checkpoint of MMSegmentation or MMDetection: '
            'no decoder layers'
        )
    if any(_ONLY_FASEG.match(key) for key in weights):
        raise ValueError(f'{path} is a FASeg checkpoint, not a Mask2Former one: use load_from')
    return weights


def _rename(key: str, prefix: str, num_levels: int) -> str:
    """What the model calls a parameter of the checkpoint."""
    match = _LAYER.fullmatch(key)
    if match is None:
        own = _HEAD.match(key)
        return key if own is None else prefix + key[own.end() :]
    round_, level = divmod(int(match[1]), _MASK2FORMER_LEVELS)
    return f'{prefix}transformer_decoder.layers.{num_levels * round_ + level}{match[2]}'


def _fit(name: str, value: Tensor, own: dict[str, Tensor]) -> Tensor | None:
    """The value for a parameter of the model, or None if it does not fit."""
    if name not in own:
        return None
    if _in_head(name) == 'level_embed.weight' and len(value) < len(own[name]):
        merged = own[name].clone()
        merged[: len(value)] = value
        return merged
    return value if value.shape == own[name].shape else None


def _in_head(name: str) -> str:
    """A parameter's name within the head; '' outside of it."""
    match = _HEAD.match(name)
    return name[match.end() :] if match else ''


def _check(report: InitReport, path: str, own: dict, mapped: dict) -> None:
    for name, (key, value) in mapped.items():
        misfit = (
            name in own and name not in report.taken and not _in_head(name).startswith('cls_embed.')
        )
        if misfit and 'criterion' not in name and 'class_weight' not in name:
            raise ValueError(
                f'{path} does not fit this model: {key} has shape {tuple(value.shape)}, '
                f'expected {tuple(own[name].shape)}'
            )
    for name in report.new + report.left:
        if name.startswith('backbone.') and 'num_batches_tracked' not in name:
            where = 'the model' if name in own else 'the checkpoint'
            raise ValueError(f'{path} is for another backbone: only {where} has {name}')


def _log(report: InitReport, path: str) -> None:
    print_log(
        f'Initialised from Mask2Former {path}: '
        f'{len(report.taken)} taken, {len(report.new)} new, {len(report.left)} left',
        logger='current',
    )
    for title, keys in report._asdict().items():
        print_log(f'{title}: {", ".join(keys) or "none"}', logger='current')
