"""Boxes of predicted masks."""

import torch
from torch import Tensor


def boxes_of_masks(mask_logits: Tensor) -> Tensor:
    """Tight boxes around the pixels with positive logits.

    Args:
        mask_logits: (B, Q, H, W).

    Returns:
        (B, Q, 4) float32: cx, cy, w, h as shares of the image; the whole image where a mask is
        empty.
    """
    mask = mask_logits > 0
    x_start, x_end = _extent(mask.any(-2))
    y_start, y_end = _extent(mask.any(-1))
    return torch.stack(
        [(x_start + x_end) / 2, (y_start + y_end) / 2, x_end - x_start, y_end - y_start], -1
    )


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and past-the-last True of (..., N) as shares of N; 0 and 1 where there is none."""
    length = occupied.shape[-1]
    index = torch.arange(length, device=occupied.device)
    start = torch.where(occupied, index, length).amin(-1)
    end = torch.where(occupied, index + 1, 0).amax(-1)
    empty = end == 0
    start, end = start.masked_fill(empty, 0), end.masked_fill(empty, length)
    return start.float() / length, end.float() / length
