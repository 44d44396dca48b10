"""From masks to class scores and class maps, in pieces of bounded size."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# What the scores and masks of one piece may take, in bytes.
PIECE_BYTES = 64 * 2**20


class Window(NamedTuple):
    """What the head predicted for a part of the network's input; for all of it in whole mode.

    Attributes:
        top, left, height, width: Where the part lies, in pixels of the input.
        class_probs: Class probabilities without 'no object', (Q, K).
        mask_logits: (Q, h, w), at the head's resolution.
    """

    top: int
    left: int
    height: int
    width: int
    class_probs: Tensor
    mask_logits: Tensor

    def scores(self, start: int, stop: int) -> Tensor:
        """Class scores (K, stop - start, width) of rows of the window."""
        rows = resize_rows(self.mask_logits, (self.height, self.width), start, stop)
        return (self.class_probs.T @ rows.sigmoid_().flatten(1)).unflatten(1, rows.shape[1:])


class ScoreMap(NamedTuple):
    """Class scores of an image at its original size, made row by row from the windows.

    Attributes:
        windows: Predictions that together cover the input; averaged where they overlap.
        size: (H, W) of the network's input.
        padding: Pixels added to the image on the left, right, top and bottom.
        flip: None, 'horizontal' or 'vertical'.
        ori_shape: (H, W) of the original image.
    """

    windows: list[Window]
    size: tuple[int, int]
    padding: tuple[int, int, int, int]
    flip: str | None
    ori_shape: tuple[int, int]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.windows[0].class_probs.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the image in the input, without its padding."""
        left, right, top, bottom = self.padding
        return self.size[0] - top - bottom, self.size[1] - left - right

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields rows and their class scores, (K, rows, W), from top to bottom."""
        height, width = self.ori_shape
        enlarged = max(1, self.size[0] // height) * max(self.size[1], width)
        queries = len(self.windows[0].class_probs)
        row_bytes = 4 * enlarged * (2 * self.num_classes + 2 * queries)
        rows = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            yield slice(start, stop), self.rows(start, stop)

    def rows(self, start: int, stop: int) -> Tensor:
        """Class scores (K, stop - start, W) of rows of the original image."""
        height, width = self.image_size
        if (height, width) == tuple(self.ori_shape):
            return self._image_rows(start, stop)
        dtype = self.windows[0].mask_logits.dtype
        upper, lower, weight = _neighbours(height, self.ori_shape[0], start, stop, dtype)
        first = int(upper[0])
        scores = self._image_rows(first, int(lower[-1]) + 1)
        return _blend(scores, upper - first, lower - first, weight, width, self.ori_shape[1])

    def _image_rows(self, start: int, stop: int) -> Tensor:
        """Rows at the size of the network's input, padding cut off and flip undone."""
        left, _, top, _ = self.padding
        height, width = self.image_size
        if self.flip == 'vertical':
            start, stop = height - stop, height - start
        scores = self._input_rows(top + start, top + stop)[..., left : left + width]
        if self.flip is None:
            return scores
        return scores.flip(-1 if self.flip == 'horizontal' else -2)

    def _input_rows(self, start: int, stop: int) -> Tensor:
        """Rows of the network's input: the mean over the windows that see a pixel."""
        if len(self.windows) == 1:
            return self.windows[0].scores(start, stop)
        first = self.windows[0].class_probs
        total = first.new_zeros(self.num_classes, stop - start, self.size[1])
        count = first.new_zeros(stop - start, self.size[1])
        for window in self.windows:
            top, bottom = max(start, window.top), min(stop, window.top + window.height)
            if top < bottom:
                where = (
                    ...,
                    slice(top - start, bottom - start),
                    slice(window.left, window.left + window.width),
                )
                total[where] += window.scores(top - window.top, bottom - window.top)
                count[where] += 1
        return total.div_(count)


def resize_rows(maps: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """Rows ``start`` to ``stop`` of maps resized bilinearly, without making the others.

    Args:
        maps: (N, h, w).
        size: (H, W) to resize to, as ``F.interpolate(..., align_corners=False)`` does.
        start: First row of the result.
        stop: Row after the last.

    Returns:
        (N, stop - start, W).
    """
    upper, lower, weight = _neighbours(maps.shape[1], size[0], start, stop, maps.dtype)
    first = int(upper[0])
    maps = maps[:, first : int(lower[-1]) + 1]
    return _blend(maps, upper - first, lower - first, weight, maps.shape[2], size[1])


def _neighbours(
    length: int, new_length: int, start: int, stop: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """For each new row the old rows above and below its centre, and the weight of the latter.

    In the precision that PyTorch's interpolation has for maps of this type.
    """
    scale = torch.tensor(length, dtype=dtype) / new_length
    position = (torch.arange(start, stop, dtype=dtype) + 0.5) * scale - 0.5
    position = position.clamp(min=0)
    upper = position.long()
    return upper, (upper + 1).clamp(max=length - 1), position - upper


def _blend(
    maps: Tensor, upper: Tensor, lower: Tensor, weight: Tensor, width: int, new_width: int
) -> Tensor:
    """Interpolates rows of (N, h, w), then the width."""
    if new_width != width:
        maps = F.interpolate(
            maps[None], (maps.shape[1], new_width), mode='bilinear', align_corners=False
        )[0]
    weight = weight.to(maps)[:, None]
    return torch.lerp(maps[:, upper.to(maps.device)], maps[:, lower.to(maps.device)], weight)
