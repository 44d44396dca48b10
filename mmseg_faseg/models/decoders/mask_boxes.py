"""Boxes of masks."""

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
    (x_start, x_end), (y_start, y_end) = (_shares(*_extent(mask.any(axis))) for axis in (-2, -1))
    return torch.stack(
        [(x_start + x_end) / 2, (y_start + y_end) / 2, x_end - x_start, y_end - y_start], -1
    )


def boxes_around(masks: Tensor) -> Tensor:
    """Boxes (N, 4) around masks (N, H, W), bool, as MMDetection's ``mask2bbox`` gives them.

    Returns:
        x1, y1, x2, y2 in pixels, float32; zeros where a mask is empty. All at once, where
        MMDetection goes from mask to mask and a GPU waits at each.
    """
    (left, right, _), (top, bottom, _) = (_extent(masks.any(axis)) for axis in (-2, -1))
    return torch.stack([left, top, right, bottom], -1).float()


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor, int]:
    """First and past-the-last True of (..., N), 0 and 0 where there is none; and N."""
    length = occupied.shape[-1]
    index = torch.arange(length, device=occupied.device)
    end = torch.where(occupied, index + 1, 0).amax(-1)
    start = torch.where(occupied, index, length).amin(-1).masked_fill(end == 0, 0)
    return start, end, length


def _shares(start: Tensor, end: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """An extent as shares of the length; all of it where there is nothing."""
    return start.float() / length, end.masked_fill(end == 0, length).float() / length
