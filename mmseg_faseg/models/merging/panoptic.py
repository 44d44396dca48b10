"""From masks to segments that do not overlap: pixel by pixel, or mask by mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from torch import Tensor

from .rows import Activation, MaskRows

_SETTINGS = {
    'argmax': ('object_mask_thr', 'iou_thr', 'filter_low_score'),
    'mask-wise': ('quality_thr', 'overlap_thr', 'exponents'),
}
# Panoptic SegFormer's, with a ResNet-50.
_MASK_WISE = dict(quality_thr=0.25, overlap_thr=dict(things=0.4, stuff=0.2))


@dataclass
class Candidates:
    """What the masks of an image stand for.

    Attributes:
        labels: Class of each mask (Q,); ``num_classes`` and more are no object.
        scores: How probable that is, (Q,).
        num_things: Number of classes of objects, whose ids come first.
        num_classes: Number of classes K.
        activation: From mask logits, which it overwrites, to values of which more than 0.5 is
            inside.
    """

    labels: Tensor
    scores: Tensor
    num_things: int
    num_classes: int
    activation: Activation = Tensor.sigmoid_

    @classmethod
    def of(cls, class_logits: Tensor, num_things: int) -> 'Candidates':
        """Of class logits (Q, K + 1), the last class 'no object'."""
        scores, labels = class_logits.softmax(-1).max(-1)
        return cls(labels, scores, num_things, class_logits.shape[1] - 1)


def merging(test_cfg: Mapping[str, Any], num_things: int, num_stuff: int) -> partial[Tensor]:
    """How the masks of an image become segments.

    Args:
        test_cfg: ``merging``, ``'argmax'`` or ``'mask-wise'``, and the arguments of
            :func:`by_pixel` or :func:`by_mask`; thresholds of the latter may also be one number, or
            two as in ``dict(things=0.4, stuff=0.2)``.
        num_things: Number of classes of objects, whose ids come first.
        num_stuff: Number of the others.

    Raises:
        ValueError: There is no such merging, a setting belongs to the other one, or thresholds are
            not as many as the classes.
    """
    kind = test_cfg.get('merging', 'argmax')
    if kind not in _SETTINGS:
        raise ValueError(f"test_cfg.merging must be 'argmax' or 'mask-wise', got {kind!r}")
    for other, names in _SETTINGS.items():
        wrong = [name for name in names if name in test_cfg and other != kind]
        if wrong:
            raise ValueError(
                f'test_cfg.{wrong[0]} is a setting of merging={other!r}, but merging is {kind!r}, '
                f'which takes {", ".join(_SETTINGS[kind])}'
            )
    settings = {name: test_cfg[name] for name in _SETTINGS[kind] if name in test_cfg}
    if kind == 'argmax':
        return partial(by_pixel, **settings)
    for name, default in _MASK_WISE.items():
        settings[name] = _for_each_class(name, test_cfg.get(name, default), num_things, num_stuff)
    return partial(by_mask, **settings)


def by_pixel(
    rows: MaskRows,
    candidates: Candidates,
    object_mask_thr: float = 0.8,
    iou_thr: float = 0.8,
    filter_low_score: bool = False,
) -> Tensor:
    """Each pixel goes to the mask with the largest product of class and mask probability.

    As MMDetection's ``MaskFormerFusionHead`` (Mask2Former, panoptic inference).

    Args:
        rows: Masks of the image.
        candidates: What they stand for.
        object_mask_thr: Masks whose class is not more probable are left out.
        iou_thr: A mask that gets less than this share of its own area is dropped; its pixels are
            then nobody's.
        filter_low_score: Whether a pixel outside its mask is nobody's.

    Returns:
        Segment ids (1, H, W), as of :func:`segment_ids`.
    """
    labels, scores = candidates.labels, candidates.scores
    left_out = (labels >= candidates.num_classes) | (scores <= object_mask_thr)
    segments = torch.empty(rows.ori_shape, dtype=torch.int16, device=rows.device)
    own, whole = (torch.zeros_like(labels) for _ in range(2))
    for where, logits in rows.chunks():
        probs = candidates.activation(logits)
        whole += (probs >= 0.5).sum((0, 1))
        weighted = (probs * scores).masked_fill_(left_out, -1)
        best, winners = weighted.max(-1)
        nobody = best < 0
        own += torch.bincount(winners[~nobody], minlength=len(labels))
        if filter_low_score:
            nobody |= probs.gather(-1, winners[..., None])[..., 0] < 0.5
        segments[where] = winners.masked_fill_(nobody, -1)
    accepted = (own > 0) & (whole > 0) & (own.double() / whole >= iou_thr)
    order = torch.arange(len(labels), device=labels.device)
    return segment_ids(segments, candidates, accepted, order)


def by_mask(
    rows: MaskRows,
    candidates: Candidates,
    quality_thr: Sequence[float],
    overlap_thr: Sequence[float],
    exponents: tuple[float, float] = (1, 2),
) -> Tensor:
    """Masks are laid down whole, the best first, each where nothing lies yet.

    Mask-wise merging of `Panoptic SegFormer <https://arxiv.org/abs/2109.03814>`_ (CVPR 2022,
    algorithm 1). How good a mask is: p^a s^b, with p the probability of its class and s the sum of
    its values within it, divided by its area and one.

    Args:
        rows: Masks of the image.
        candidates: What they stand for.
        quality_thr: Masks less good than this are dropped; K numbers, one for each class.
        overlap_thr: Masks of which a larger share is taken are dropped; K numbers.
        exponents: a and b.

    Returns:
        Segment ids (1, H, W), as of :func:`segment_ids`.
    """
    labels = candidates.labels
    masks = torch.empty(len(labels), *rows.ori_shape, dtype=torch.bool, device=rows.device)
    totals, areas = torch.zeros_like(candidates.scores), torch.zeros_like(labels)
    for where, logits in rows.chunks():
        values = candidates.activation(logits)
        inside = values > 0.5
        masks[:, where] = inside.permute(2, 0, 1)
        totals += values.mul_(inside).sum((0, 1))
        areas += inside.sum((0, 1))
    quality = candidates.scores ** exponents[0] * (totals / (areas + 1)) ** exponents[1]
    allowed = _by_class(overlap_thr, candidates)
    candidate = (labels < candidates.num_classes) & (areas > 0)
    candidate &= quality >= _by_class(quality_thr, candidates)
    order = quality.argsort(descending=True, stable=True)

    segments = torch.full(rows.ori_shape, -1, dtype=torch.int16, device=rows.device)
    accepted = torch.zeros_like(candidate)
    for index in order.split(1):  # nothing here waits for a GPU
        mask = masks.index_select(0, index)[0]
        free = mask & (segments < 0)
        taken = (areas[index] - free.sum()).double() / areas[index]
        fits = candidate[index] & (taken <= allowed[index])
        accepted[index] = fits
        segments = torch.where(free & fits, index.to(segments.dtype), segments)
    return segment_ids(segments, candidates, accepted, order)


def segment_ids(
    segments: Tensor, candidates: Candidates, accepted: Tensor, order: Tensor
) -> Tensor:
    """Which segment each pixel belongs to, in the form that MMDetection's metrics take.

    Args:
        segments: Which mask has a pixel, or -1, (H, W).
        candidates: What the masks stand for.
        accepted: Which of them stay, (Q,).
        order: In which objects are numbered, (Q,).

    Returns:
        (1, H, W), int32: the class; for an object its number, from 1, times ``INSTANCE_OFFSET``
        more; K where there is nothing.
    """
    labels = candidates.labels
    objects = accepted & (labels < candidates.num_things)
    numbers = torch.zeros_like(labels)
    numbers[order] = objects[order].cumsum(0)
    ids = torch.where(objects, labels + numbers * INSTANCE_OFFSET, labels)
    ids = torch.where(accepted, ids, candidates.num_classes)
    nobody = ids.new_full((1,), candidates.num_classes)
    return torch.cat([nobody, ids]).int()[segments.int() + 1][None]


def _for_each_class(name: str, given: Any, num_things: int, num_stuff: int) -> list[float]:
    if isinstance(given, int | float):
        return [given] * (num_things + num_stuff)
    if isinstance(given, Mapping) and set(given) == {'things', 'stuff'}:
        return [given['things']] * num_things + [given['stuff']] * num_stuff
    if isinstance(given, Sequence) and len(given) == num_things + num_stuff:
        return list(given)
    raise ValueError(
        f'test_cfg.{name} must be a number, dict(things=..., stuff=...) or a list with one for '
        f'each of the {num_things + num_stuff} classes, got {given!r}'
    )


def _by_class(thresholds: Sequence[float], candidates: Candidates) -> Tensor:
    """The threshold for each mask's class, (Q,)."""
    table = torch.tensor([*thresholds, 0.0], dtype=torch.float64)  # and for no object
    table = table.to(candidates.labels.device, non_blocking=True)
    return table[candidates.labels.clamp(max=candidates.num_classes)]
