"""Masks of an image at its original size, row by row, in chunks of bounded size.

Channels come last: the products, the resizing and the choice of a class all read a pixel's queries
or classes in one piece.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.chunks import chunk_bytes

# Top, left, height and width in pixels.
Box = tuple[int, int, int, int]
# From mask logits (..., Q) of pixels to what becomes of them, (..., N).
Merge = Callable[[Tensor], Tensor]
# From mask logits, which it overwrites, to values from 0 to 1 or so.
Activation = Callable[[Tensor], Tensor]


class Window(NamedTuple):
    """Masks of a part of the network's input; of all of it in whole mode.

    Attributes:
        top, left, height, width: Where the part lies, in pixels of the input.
        mask_logits: (h, w, Q), at the head's resolution.
    """

    top: int
    left: int
    height: int
    width: int
    mask_logits: Tensor

    @classmethod
    def of(cls, box: Box, mask_logits: Tensor) -> 'Window':
        """A window (top, left, height, width) with the head's masks (Q, h, w)."""
        return cls(*box, mask_logits.permute(1, 2, 0).contiguous())

    def rows(self, start: int, stop: int) -> Tensor:
        """Mask logits (stop - start, width, Q) of rows of the window."""
        return resize_rows(self.mask_logits, (self.height, self.width), start, stop)


class MaskRows(NamedTuple):
    """Rows of an image at its original size, made from the windows.

    By default they are mask logits. Given for each window what becomes of its mask logits, they
    are that: merged at the size of the network's input, averaged where windows overlap, and
    resized, as OpenMMLab's segmentors resize class scores.

    Attributes:
        windows: Predictions that together cover the input.
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
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the image in the input, without its padding."""
        left, right, top, bottom = self.padding
        return self.size[0] - top - bottom, self.size[1] - left - right

    @property
    def device(self) -> torch.device:
        """Where the masks lie."""
        return self.windows[0].mask_logits.device

    def chunks(
        self, merges: Sequence[Merge] | None = None, channels: int = 0
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yields rows and their values, from top to bottom.

        Args:
            merges: For each window what becomes of its mask logits. Without, there may be only
                one window: the queries of several have nothing to do with each other.
            channels: How many values a pixel then has, N; Q without ``merges``.

        Yields:
            A slice of rows of the original image, and their values (rows, W, N).
        """
        if merges is None:
            if len(self.windows) > 1:
                raise ValueError(f'masks of {len(self.windows)} windows need merges')
            merges, channels = [_unchanged], self.windows[0].mask_logits.shape[-1]
        for rows in row_slices(self.ori_shape[0], self.row_bytes(channels), self.device):
            yield rows, self.rows(rows.start, rows.stop, merges, channels)

    def row_bytes(self, channels: int) -> int:
        """What a row of the original image costs on the way to N values a pixel."""
        queries = self.windows[0].mask_logits.shape[-1]
        height, width = self.ori_shape
        enlarged = max(1, self.size[0] // height) * max(self.size[1], width)
        return 4 * enlarged * (2 * channels + queries)

    def rows(self, start: int, stop: int, merges: Sequence[Merge], channels: int) -> Tensor:
        """Values (stop - start, W, N) of rows of the original image."""
        size, ori_size = self.image_size, tuple(self.ori_shape)
        if size == ori_size:
            return self._image_rows(start, stop, merges, channels)
        dtype = self.windows[0].mask_logits.dtype
        neighbours = Neighbours.of(size[0], ori_size[0], start, stop, dtype)
        needed = neighbours.slice
        rows = self._image_rows(needed.start, needed.stop, merges, channels)
        return neighbours.blend(rows, ori_size[1])

    def _image_rows(self, start: int, stop: int, merges: Sequence[Merge], channels: int) -> Tensor:
        """Rows at the size of the network's input, padding cut off and flip undone."""
        left, _, top, _ = self.padding
        height, width = self.image_size
        if self.flip == 'vertical':
            start, stop = height - stop, height - start
        rows = self._input_rows(top + start, top + stop, merges, channels)
        rows = rows[:, left : left + width]
        if self.flip is None:
            return rows
        return rows.flip(1 if self.flip == 'horizontal' else 0)

    def _input_rows(self, start: int, stop: int, merges: Sequence[Merge], channels: int) -> Tensor:
        """Rows of the network's input: the mean over the windows that see a pixel."""
        if len(self.windows) == 1:
            return merges[0](self.windows[0].rows(start, stop))
        first = self.windows[0].mask_logits
        total = first.new_zeros(stop - start, self.size[1], channels)
        count = first.new_zeros(stop - start, self.size[1], 1)
        for window, merge in zip(self.windows, merges, strict=True):
            top, bottom = max(start, window.top), min(stop, window.top + window.height)
            if top < bottom:
                where = (
                    slice(top - start, bottom - start),
                    slice(window.left, window.left + window.width),
                )
                total[where] += merge(window.rows(top - window.top, bottom - window.top))
                count[where] += 1
        return total.div_(count)


def padded_rows(
    mask_logits: Tensor, size: tuple[int, int], img_meta: dict, rescale: bool
) -> MaskRows:
    """Rows of an image that was padded on the right and at the bottom, as MMDetection pads.

    Args:
        mask_logits: (Q, h, w).
        size: (H, W) of the network's input.
        img_meta: With ``img_shape``, without padding, and ``ori_shape``.
        rescale: Whether at the original size, or else at that of the image in the input.
    """
    height, width = img_meta['img_shape'][:2]
    padding = (0, size[1] - width, 0, size[0] - height)
    ori_shape = img_meta['ori_shape'] if rescale else img_meta['img_shape']
    window = Window.of((0, 0, *size), mask_logits)
    return MaskRows([window], size, padding, None, tuple(ori_shape[:2]))


def _unchanged(mask_logits: Tensor) -> Tensor:
    return mask_logits


def row_slices(height: int, row_bytes: int, device: torch.device) -> Iterator[slice]:
    """Rows to work on at a time, from top to bottom."""
    # Half a chunk: steps on the way live beside what is counted.
    count = max(1, chunk_bytes(device) // 2 // row_bytes)
    return (slice(start, min(start + count, height)) for start in range(0, height, count))


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
        number: Any = np.float64 if dtype == torch.float64 else np.float32
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
