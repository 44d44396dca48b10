"""From masks to class scores and class maps, in pieces of bounded size."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.chunks import piece_bytes

# Top, left, height and width in pixels.
Box = tuple[int, int, int, int]


class Window(NamedTuple):
    """What the head predicted for a part of the network's input; for all of it in whole mode.

    Attributes:
        top, left, height, width: Where the part lies, in pixels of the input.
        class_probs: Class probabilities without 'no object', (Q, K).
        mask_logits: (h, w, Q), at the head's resolution.
    """

    top: int
    left: int
    height: int
    width: int
    class_probs: Tensor
    mask_logits: Tensor

    @classmethod
    def of(cls, box: Box, class_probs: Tensor, mask_logits: Tensor) -> 'Window':
        """A window (top, left, height, width) with the head's masks (Q, h, w)."""
        return cls(*box, class_probs, mask_logits.permute(1, 2, 0).contiguous())

    def scores(self, start: int, stop: int) -> Tensor:
        """Class scores (stop - start, width, K) of rows of the window."""
        rows = resize_rows(self.mask_logits, (self.height, self.width), start, stop)
        return rows.sigmoid_() @ self.class_probs


def class_scores(class_probs: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores of images: sums over queries of class times mask probability.

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
        window = Window.of((0, 0, *size), class_probs[image], mask_logits[image])
        for rows in _row_slices(size[0], 4 * size[1] * (queries + classes), scores.device):
            scores[image, rows] = window.scores(rows.start, rows.stop)
    return scores.permute(0, 3, 1, 2)


def _row_slices(height: int, row_bytes: int, device: torch.device) -> Iterator[slice]:
    """Rows to work on at a time, from top to bottom."""
    # Half a piece: steps on the way live beside what is counted.
    count = max(1, piece_bytes(device) // 2 // row_bytes)
    return (slice(start, min(start + count, height)) for start in range(0, height, count))


class ScoreMap(NamedTuple):
    """Class scores of an image at its original size, made row by row from the windows.

    Channels come last, here and in the windows: the products, the resizing and the choice of a
    class all read a pixel's queries or classes in one piece.

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
        """Yields rows and their class scores, (rows, W, K), from top to bottom."""
        height, width = self.ori_shape
        enlarged = max(1, self.size[0] // height) * max(self.size[1], width)
        queries = len(self.windows[0].class_probs)
        row_bytes = 4 * enlarged * (2 * self.num_classes + queries)
        for rows in _row_slices(height, row_bytes, self.windows[0].mask_logits.device):
            yield rows, self.rows(rows.start, rows.stop)

    def rows(self, start: int, stop: int) -> Tensor:
        """Class scores (stop - start, W, K) of rows of the original image."""
        size, ori_size = self.image_size, tuple(self.ori_shape)
        if size == ori_size:
            return self._image_rows(start, stop)
        dtype = self.windows[0].mask_logits.dtype
        neighbours = Neighbours.of(size[0], ori_size[0], start, stop, dtype)
        rows = self._image_rows(neighbours.slice.start, neighbours.slice.stop)
        return neighbours.blend(rows, ori_size[1])

    def _image_rows(self, start: int, stop: int) -> Tensor:
        """Rows at the size of the network's input, padding cut off and flip undone."""
        left, _, top, _ = self.padding
        height, width = self.image_size
        if self.flip == 'vertical':
            start, stop = height - stop, height - start
        scores = self._input_rows(top + start, top + stop)[:, left : left + width]
        if self.flip is None:
            return scores
        return scores.flip(1 if self.flip == 'horizontal' else 0)

    def _input_rows(self, start: int, stop: int) -> Tensor:
        """Rows of the network's input: the mean over the windows that see a pixel."""
        if len(self.windows) == 1:
            return self.windows[0].scores(start, stop)
        first = self.windows[0].class_probs
        total = first.new_zeros(stop - start, self.size[1], self.num_classes)
        count = first.new_zeros(stop - start, self.size[1], 1)
        for window in self.windows:
            top, bottom = max(start, window.top), min(stop, window.top + window.height)
            if top < bottom:
                where = (
                    slice(top - start, bottom - start),
                    slice(window.left, window.left + window.width),
                )
                total[where] += window.scores(top - window.top, bottom - window.top)
                count[where] += 1
        return total.div_(count)


def resize_rows(maps: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """Rows ``start`` to ``stop`` of maps resized bilinearly, without making the others.

    Args:
        maps: (h, w, N).
        size: (H, W) to resize to, as ``F.interpolate(..., align_corners=False)`` does.
        start: First row of the result.
        stop: Row after the last.

    Returns:
        (stop - start, W, N).
    """
    neighbours = Neighbours.of(maps.shape[0], size[0], start, stop, maps.dtype)
    return neighbours.blend(maps[neighbours.slice], size[1])


class Neighbours(NamedTuple):
    """The old rows that new rows lie between when maps are resized.

    Attributes:
        slice: All old rows that are needed.
        rows: For each new row the old ones above and below its centre, counted from the first that
            is needed, (n, 2).
        weights: How much it takes of each, (n, 2).
    """

    slice: slice
    rows: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(
        cls, length: int, new_length: int, start: int, stop: int, dtype: torch.dtype
    ) -> 'Neighbours':
        """Of new rows ``start`` to ``stop``, as precise as PyTorch's interpolation of a type."""
        number = np.float64 if dtype == torch.float64 else np.float32
        scale = number(length) / number(new_length)
        position = (np.arange(start, stop, dtype=number) + number(0.5)) * scale - number(0.5)
        position = position.clip(min=0)
        upper = position.astype(np.int64)
        lower = (upper + 1).clip(max=length - 1)
        below = position - upper.astype(number)
        first = upper[0]
        return cls(
            slice(first, lower[-1] + 1),
            np.stack([upper - first, lower - first], 1),
            np.stack([1 - below, below], 1),
        )

    def blend(self, maps: Tensor, new_width: int) -> Tensor:
        """Resizes the width of the old rows (h, w, N), then blends them: (n, W, N)."""
        if new_width != maps.shape[1]:
            maps = F.interpolate(
                maps[None].permute(0, 3, 1, 2),  # channels last, as PyTorch sees it
                (maps.shape[0], new_width),
                mode='bilinear',
                align_corners=False,
            )[0].permute(1, 2, 0)
        rows = F.embedding_bag(
            torch.from_numpy(self.rows).to(maps.device, non_blocking=True),
            maps.flatten(1),
            mode='sum',
            per_sample_weights=torch.from_numpy(self.weights).to(maps, non_blocking=True),
        )
        return rows.unflatten(1, maps.shape[1:])
