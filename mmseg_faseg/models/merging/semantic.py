"""From masks to class scores and class maps (Mask2Former, semantic inference)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .panoptic import Candidates, merging
from .rows import MaskRows, Merge, Window, row_slices
from .scores import Scores


def merge_by_class(class_probs: Tensor) -> Merge:
    """Merges masks into class scores: sums over queries of class times mask probability.

    Args:
        class_probs: Without 'no object', (Q, K).

    Returns:
        From mask logits (..., Q), which it overwrites, to class scores (..., K).
    """

    def merge(mask_logits: Tensor) -> Tensor:
        return mask_logits.sigmoid_() @ class_probs

    return merge


class MaskScores(Scores):
    """Class scores that masks of an image add up to.

    Args:
        masks: The masks.
        class_probs: Of each window, without 'no object', (Q, K).
    """

    def __init__(self, masks: MaskRows, class_probs: Sequence[Tensor]) -> None:
        self.masks = masks
        self.class_probs = class_probs
        self.shape = masks.ori_shape
        self.num_classes = class_probs[0].shape[-1]
        self.device = masks.device
        self.row_bytes = masks.row_bytes(self.num_classes)

    def rows(self, start: int, stop: int) -> Tensor:
        """Class scores (stop - start, W, K)."""
        merges = [merge_by_class(probs) for probs in self.class_probs]
        return self.masks.rows(start, stop, merges, self.num_classes)


def class_scores(class_probs: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores of images at the size of the network's input.

    Args:
        class_probs: Without 'no object', (B, Q, K).
        mask_logits: (B, Q, h, w).
        size: (H, W) of the scores.

    Returns:
        (B, K, H, W) in channels-last memory format, the only thing of that size that is made.
    """
    batch, queries, classes = class_probs.shape
    scores = mask_logits.new_empty(batch, *size, classes)
    for image in range(batch):
        window = Window.of((0, 0, *size), mask_logits[image])
        merge = merge_by_class(class_probs[image])
        for rows in row_slices(size[0], 4 * size[1] * (queries + classes), scores.device):
            scores[image, rows] = merge(window.rows(rows.start, rows.stop))
    return scores.permute(0, 3, 1, 2)


def predict_classes(scores: Scores, keep_scores: bool) -> tuple[Tensor, Tensor | None]:
    """The class map of an image.

    Args:
        scores: Its class scores.
        keep_scores: Whether to return the class scores too.

    Returns:
        Classes (1, H, W), int64, at the original size, and class scores (K, H, W) or None.
    """
    classes = torch.empty(1, *scores.shape, dtype=torch.long, device=scores.device)
    kept = None
    for where, values in scores.chunks():
        classes[0, where] = values.argmax(-1)
        if keep_scores:
            if kept is None:
                kept = values.new_empty(values.shape[-1], *scores.shape)
            kept[:, where] = values.permute(2, 0, 1)
    return classes, kept


def mask_wise(
    test_cfg: Mapping[str, Any], num_classes: int
) -> Callable[[MaskRows, Tensor, Tensor], Tensor] | None:
    """How masks become class maps mask by mask.

    Masks are laid down whole, the best first, as :func:`.panoptic.by_mask` does; where there is
    none, the class with the largest score is taken.

    Args:
        test_cfg: As of :func:`.panoptic.merging`.
        num_classes: Number of classes K.

    Returns:
        From the masks of an image, class probabilities (Q, K) and the class map that scores give to
        classes (1, H, W), int64; None with ``merging='argmax'``, where scores decide.

    Raises:
        ValueError: As of :func:`.panoptic.merging`, or there are settings with ``'argmax'``.
    """
    merge = merging(test_cfg, num_things=0, num_stuff=num_classes)
    if test_cfg.get('merging', 'argmax') == 'argmax':
        if merge.keywords:
            raise ValueError(
                f'test_cfg.{next(iter(merge.keywords))} has no effect on class maps, to which all '
                "masks add; test_cfg.merging='mask-wise' has thresholds of its own"
            )
        return None

    def classes_of(rows: MaskRows, class_probs: Tensor, by_scores: Tensor) -> Tensor:
        scores, labels = class_probs.max(-1)
        segments = merge(rows, Candidates(labels, scores, 0, num_classes))
        return torch.where(segments < num_classes, segments.long(), by_scores)

    return classes_of
