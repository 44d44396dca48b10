"""Gives the weights of a released checkpoint our names, accounting for every key."""

from collections import Counter
from typing import NamedTuple, cast

import torch
from mmdet.models.backbones.pvt import pvt_convert
from torch import Tensor

from ...errors import UserError
from .key_tables import (
    DROPPED,
    NEW,
    NEW_BEHIND_IMAGENET,
    PATCH_MERGING,
    TABLES,
    fits,
    look_up,
)
from .recognise import Model

_KEYS_NAMED = 5
_BACKBONE = 'backbone.'
# Of a PVTv2; `backbone.norm.` is no stage's.
_CONVERTED = tuple(
    f'{_BACKBONE}{part}{stage}.'
    for part in ('patch_embed', 'block', 'norm')
    for stage in range(1, 5)
)


class Accounts(NamedTuple):
    """Where every key goes.

    Attributes:
        sources: Our names, and the released names of what they come from.
        dropped: Released names that find no place, and why.
        new: Our names that nothing comes from, and why none is needed.
    """

    sources: dict[str, str]
    dropped: dict[str, str]
    new: dict[str, str]


def account_for(
    weights: dict[str, Tensor], model: Model, own: dict[str, Tensor], config: str
) -> Accounts:
    """Finds the place of every released key.

    Args:
        weights: By their released names; those of a backbone alone with ``backbone.`` in front.
        model: What they are of.
        own: State of the model that they are for.
        config: Name of its config, for errors.

    Raises:
        UserError: A key is unknown or missing, or two keys have one place.
    """
    new_rows = NEW
    if model.method == 'ImageNet':
        own = {key: value for key, value in own.items() if key.startswith('backbone.')}
        new_rows = [*NEW, *NEW_BEHIND_IMAGENET]
    names = {key: _place(model, key, own) for key in weights}
    sources = {name: key for key, name in names.items() if name in own}
    dropped = {key: look_up(DROPPED, key) for key in weights if key not in sources.values()}
    new = {name: look_up(new_rows, name) for name in own if name not in sources}
    _check_accounts(model, config, names, dropped, new)
    reasons = (cast('dict[str, str]', found) for found in (dropped, new))  # none is missing
    return Accounts(sources, *reasons)


def _place(model: Model, key: str, own: dict[str, Tensor]) -> str | None:
    """Our name for a released one, if it fits any row of the model's table."""
    name = look_up(TABLES[model.method, model.family], key)
    if name not in own and name is not None and name.startswith('decode_head.'):
        return name.replace('decode_head.', 'panoptic_head.', 1)  # of MMDetection's detectors
    return name


def rename(
    weights: dict[str, Tensor], sources: dict[str, str], own: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Released weights by our names, in our shapes, types and order of channels.

    Args:
        weights: By their released names.
        sources: As in :class:`Accounts`.
        own: State of the model that they are for.

    Raises:
        UserError: Shape or type differ, or a value is not finite.
    """
    return {name: _fit(weights[key], key, own[name]) for name, key in sources.items()}


def rename_pvt(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names and joins the weights of a PVTv2 backbone by MMDetection's own conversion.

    What that leaves out, such as a classifier, keeps its name, to be accounted for as all others.
    """
    others = {key: w for key, w in weights.items() if not key.startswith(_CONVERTED)}
    backbone = {key.removeprefix(_BACKBONE): w for key, w in weights.items() if key not in others}
    try:
        converted = pvt_convert(backbone)
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f'a backbone that is no PVTv2: {error}') from None
    return {**others, **{_BACKBONE + key: weight for key, weight in converted.items()}}


def _check_accounts(
    model: Model,
    config: str,
    names: dict[str, str | None],
    dropped: dict[str, str | None],
    new: dict[str, str | None],
) -> None:
    """Every key is converted, dropped for a reason, or new for a reason, once."""
    unknown = [key for key, reason in dropped.items() if reason is None]
    missing = [name for name, reason in new.items() if reason is None]
    counts = Counter(name for name in names.values() if name)
    twice = [key for key, name in names.items() if name and counts[name] > 1]
    problems = [
        f'{title}: {_listed(keys)}'
        for title, keys in (
            ('keys without a place', unknown),
            ('nothing for', missing),
            ('keys for the same place', twice),
        )
        if keys
    ]
    if problems:
        raise UserError(f'{model} does not fit {config}: {"; ".join(problems)}')


def _fit(value: Tensor, key: str, own: Tensor) -> Tensor:
    """A released value as ours: order of channels, type, memory of its own."""
    if value.shape != own.shape:
        raise UserError(f'{key} has shape {tuple(value.shape)}, expected {tuple(own.shape)}')
    if value.is_floating_point() != own.is_floating_point():
        raise UserError(f'{key} holds {value.dtype}, expected {own.dtype}')
    if key.endswith('.relative_position_index') and not torch.equal(value.to(own), own):
        raise UserError(f'{key} differs from what the model computes itself')
    if not value.isfinite().all():
        raise UserError(f'{key} holds values that are not finite')
    if fits(PATCH_MERGING, key):
        value = _reorder_patch_merging(value)
    return value.to(own.dtype).contiguous().clone()


def _reorder_patch_merging(value: Tensor) -> Tensor:
    """(..., column x row x C) to (..., C x row x column) over the 2 x 2 pixels that are merged.

    Weights of the reduction are (2 C, 4 C), those of the norm (4 C,).
    """
    return value.unflatten(-1, (2, 2, -1)).transpose(-3, -1).flatten(-3)


def _listed(keys: list[str]) -> str:
    more = f' and {len(keys) - _KEYS_NAMED} more' if len(keys) > _KEYS_NAMED else ''
    return ', '.join(keys[:_KEYS_NAMED]) + more
