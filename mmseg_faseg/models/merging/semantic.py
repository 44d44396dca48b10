"""From masks to class scores and class maps (Mask2Former, semantic inference)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .rows import MaskRows, Merge, Window, row_slices


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


def score_chunks(rows: MaskRows, class_probs: Sequence[Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """Class scores of an image, from top to bottom.

    Args:
        rows: Its masks.
        class_probs: Of each window, without 'no object', (Q, K).

    Yields:
        A slice of rows and their class scores (rows, W, K).
    """
    return rows.chunks([merge_by_class(probs) for probs in class_probs], class_probs[0].shape[-1])


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


def predict_classes(
    rows: MaskRows, class_probs: Sequence[Tensor], keep_scores: bool
) -> tuple[Tensor, Tensor | None]:
    """The class map of an image.

    Args:
        rows: Its masks.
        class_probs: Of each window, without 'no object', (Q, K).
        keep_scores: Whether to return the class scores too.

    Returns:
        Classes (1, H, W), int64, at the original size, and class scores (K, H, W) or None.
    """
    classes = torch.empty(1, *rows.ori_shape, dtype=torch.long, device=rows.device)
    kept = None
    for where, scores in score_chunks(rows, class_probs):
        classes[0, where] = scores.argmax(-1)
        if keep_scores:
            if kept is None:
                kept = scores.new_empty(scores.shape[-1], *rows.ori_shape)
            kept[:, where] = scores.permute(2, 0, 1)
    return classes, kept
