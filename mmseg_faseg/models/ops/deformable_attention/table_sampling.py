"""Deformable sampling as sums of table rows: what runs on a CPU.

A query's output is a weighted sum of tokens, the four corners of each of its samples. So is a
token's gradient, of the gradients of the queries that sampled it. PyTorch's ``embedding_bag`` makes
such sums without holding their terms, and reads a token's channels in one piece.

Below ``sum_of_rows`` everything is of one image. Samples are ordered (Q, heads, levels x points),
S = levels x points of them for each query and head; corners (Q, heads, 4, S).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .levels import Geometry, Sizes, filled, starts_of

# Queries at a time: what is made of them should stay in the processor's cache, but sorting them in
# the backward pass costs least when there are many.
_FORWARD_CHUNK = 4096
_BACKWARD_CHUNK = 8192

# Rows between the upper left corner of a sample and each of the four, by the length of a row.
_STEPS = (lambda _: 0, lambda _: 1, lambda length: length, lambda length: length + 1)


class TableSampling(torch.autograd.Function):
    """Sampling whose gradients are sums of table rows, and which keeps nothing but its arguments.

    ``forward`` is a function of ``backends`` (value, geometry, positions, weights).
    """

    @staticmethod
    def forward(
        ctx,
        forward: Callable[..., Tensor],
        value: Tensor,
        geometry: Geometry,
        positions: Tensor,
        weights: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(value, positions, weights)
        ctx.geometry = geometry
        return forward(value, geometry, positions, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, positions, weights = ctx.saved_tensors
        dtype = positions.dtype  # at least float32, also of models in half precision
        operands = value.to(dtype), positions, weights.to(dtype)
        grad = grad.to(dtype).unflatten(-1, value.shape[2:])
        grads = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in operands]
        for image in zip(*operands, grad, *grads, strict=True):
            _backward_of_image(ctx.geometry, *image)
        return None, grads[0].to(value), None, grads[1], grads[2].to(weights)


def sum_of_rows(value: Tensor, geometry: Geometry, positions: Tensor, weights: Tensor) -> Tensor:
    """Samples and sums; arguments and result as in ``backends``."""
    out = value.new_empty(*weights.shape[:2], *value.shape[2:])
    for image in zip(value, positions, weights, out, strict=True):
        table = Table.of(image[0], geometry)
        for position, weight, target in zip(
            *(x.split(_FORWARD_CHUNK) for x in image[1:]), strict=True
        ):
            first, beyond = table.locate(position)
            rows = table.corners(first).flatten(2).flatten(0, 1)
            corner_weights = _corner_weights(weight, beyond).to(value.dtype).view_as(rows)
            summed = F.embedding_bag(
                rows, table.rows, mode='sum', per_sample_weights=corner_weights
            )
            target.copy_(summed.view_as(target))
    return out.flatten(2)


class Table(NamedTuple):
    """Tokens as the rows of one table: for each head all levels, framed by zeros.

    With a frame of one pixel before and two behind, every corner of a sample is a row, wherever
    the sample lies, once its position is clamped to the frame.

    Attributes:
        rows: (heads R, C / heads).
        heads: Their number.
        sizes: (H_l, W_l) of each level without its frame.
    """

    rows: Tensor
    heads: int
    sizes: Sizes

    @classmethod
    def of(cls, value: Tensor, geometry: Geometry) -> 'Table':
        """Fills a table with the tokens (N, heads, C / heads)."""
        _, heads, width = value.shape
        sizes = geometry.sizes
        table = cls(value.new_zeros(heads * sum(_framed(sizes)), width), heads, sizes)
        for pixels, tokens in zip(table.pixels(table.rows), table.maps(value), strict=True):
            pixels.copy_(tokens)
        return table

    def maps(self, value: Tensor) -> list[Tensor]:
        """Views (heads, H_l, W_l, C / heads) of tokens (N, heads, C / heads)."""
        levels = value.split([height * width for height, width in self.sizes])
        return [
            level.unflatten(0, size).permute(2, 0, 1, 3)
            for level, size in zip(levels, self.sizes, strict=True)
        ]

    def levels(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Views (heads, R_l, C / heads) of rows."""
        return rows.unflatten(0, (self.heads, -1)).split(_framed(self.sizes), 1)

    def pixels(self, rows: Tensor) -> list[Tensor]:
        """Views (heads, H_l, W_l, C / heads) of rows, without the frames."""
        return [
            level.unflatten(1, (h + 3, w + 3))[:, 1:-2, 1:-2]
            for level, (h, w) in zip(self.levels(rows), self.sizes, strict=True)
        ]

    def bounds(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Least and largest positions within the frames, (2, heads S) each."""
        ends = [[w for _, w in self.sizes], [h for h, _ in self.sizes]]
        last = self._per_sample(ends, positions).to(positions.dtype)
        return torch.full_like(last, -1), last

    def locate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the samples at positions (Q, 2, heads, levels, points).

        Returns:
            The row of each one's upper left corner, (Q, heads, S), int32; and how far it lies to
            the right of that and below it, (Q, 2, heads, S) in [0, 1).
        """
        beyond = positions.flatten(2).clamp(*self.bounds(positions))
        corner = beyond.floor()
        beyond -= corner
        lengths = self._per_sample([w + 3 for _, w in self.sizes], positions).to(corner)
        first = torch.addcmul(corner[:, 0], corner[:, 1], lengths).int()
        # What is not a number has no row; any will do, as its weight is not a number either.
        first.add_(self._origins(positions)).clamp_(min=0)
        return first.unflatten(1, (self.heads, -1)), beyond.unflatten(2, (self.heads, -1))

    def corners(self, first: Tensor) -> Tensor:
        """Rows of the four corners, (Q, heads, 4, S), from those of the upper left ones."""
        offsets = [[step(w + 3) for _, w in self.sizes] for step in _STEPS]
        points = first.shape[2] // len(self.sizes)
        steps = filled(offsets, first.device).int().repeat_interleave(points, 1)
        return first.unsqueeze(2) + steps

    def _origins(self, positions: Tensor) -> Tensor:
        """Row of the first pixel of each sample's level and head, int32, (heads S,)."""
        framed = _framed(self.sizes)
        pixels = [
            start + w + 4 for start, (_, w) in zip(starts_of(framed), self.sizes, strict=True)
        ]
        heads = torch.arange(self.heads, device=positions.device) * sum(framed)
        origins = self._per_sample(pixels, positions).unflatten(0, (self.heads, -1))
        return (origins + heads[:, None]).flatten().int()

    def _per_sample(self, numbers: list, positions: Tensor) -> Tensor:
        """A number for each level as (..., heads S): long stretches make operations fast."""
        points = positions.shape[-1]
        per_head = filled(numbers, positions.device).repeat_interleave(points, -1)
        return per_head.tile(self.heads)


def _framed(sizes: Sizes) -> list[int]:
    """Number of rows of each level with its frame."""
    return [(height + 3) * (width + 3) for height, width in sizes]


def _corner_weights(weights: Tensor, beyond: Tensor) -> Tensor:
    """Attention weight times bilinear weight of each corner, (Q, heads, 4, S)."""
    right, down = beyond.unbind(1)
    weights = weights.flatten(2)
    below = weights * down
    above = weights - below
    above_right, below_right = above * right, below * right
    return torch.stack([above - above_right, above_right, below - below_right, below_right], 2)


def _backward_of_image(
    geometry: Geometry,
    value: Tensor,
    positions: Tensor,
    weights: Tensor,
    grad: Tensor,
    grad_value: Tensor,
    grad_positions: Tensor,
    grad_weights: Tensor,
) -> None:
    """Fills the gradients, given that of the output, (Q, heads, C / heads)."""
    table = Table.of(value, geometry)
    grad_rows = torch.zeros_like(table.rows)
    for part in zip(
        *(
            x.split(_BACKWARD_CHUNK)
            for x in (positions, weights, grad, grad_positions, grad_weights)
        ),
        strict=True,
    ):
        _backward_of_part(table, grad_rows, *part)
    for target, pixels in zip(table.maps(grad_value), table.pixels(grad_rows), strict=True):
        target.copy_(pixels)


def _backward_of_part(
    table: Table,
    grad_rows: Tensor,
    positions: Tensor,
    weights: Tensor,
    grad: Tensor,
    grad_positions: Tensor,
    grad_weights: Tensor,
) -> None:
    first, beyond = table.locate(positions)
    grad = grad.reshape(-1, grad.shape[-1])
    _add_to_rows(grad_rows, table, first, _corner_weights(weights, beyond), grad)

    right, down = beyond.unbind(1)
    corners = _corner_gradients(table, first, grad)
    above_left, above_right, below_left, below_right = corners.unbind(2)
    above_right -= above_left
    below_right -= below_left
    above = torch.addcmul(above_left, above_right, right)
    below = torch.addcmul(below_left, below_right, right).sub_(above)
    weights = weights.flatten(2)
    to_right = torch.lerp(above_right, below_right, down).mul_(weights)
    torch.addcmul(above, below, down, out=grad_weights.flatten(2))
    to_below = below.mul_(weights)
    least, largest = table.bounds(positions)
    flat = positions.flatten(2)
    outside = (flat < least) | (flat > largest)
    torch.stack([to_right.flatten(1), to_below.flatten(1)], 1, out=grad_positions.flatten(2))
    grad_positions.flatten(2).masked_fill_(outside, 0)


def _corner_gradients(table: Table, first: Tensor, grad: Tensor) -> Tensor:
    """Gradient of each corner's weight: its row times the gradient of its query's output."""
    rows = table.corners(first)
    bags = torch.arange(len(grad), dtype=rows.dtype, device=rows.device)
    per_bag = rows.shape[2] * rows.shape[3]
    dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        grad,
        table.rows,
        rows.flatten(),
        bags * per_bag,
        bags.repeat_interleave(per_bag),
        0,  # sums
    )
    return dots.view_as(rows)


def _add_to_rows(
    grad_rows: Tensor, table: Table, first: Tensor, corner_weights: Tensor, grad: Tensor
) -> None:
    """Adds to each row what the samples with a corner there contribute.

    Sorted by their upper left corners, the samples of a row follow one another: a bag themselves.
    """
    sorted_rows, order = first.flatten().sort()
    every_row = torch.arange(len(grad_rows), dtype=first.dtype, device=first.device)
    bags = torch.searchsorted(sorted_rows, every_row)
    corner_weights = corner_weights.transpose(2, 3).reshape(-1, 4)[order].T.contiguous()
    queries = order.div_(first.shape[2], rounding_mode='floor')
    for step, weights in zip(_STEPS, corner_weights, strict=True):
        by_row = F.embedding_bag(queries, grad, bags, mode='sum', per_sample_weights=weights)
        for target, rows, (_, w) in zip(
            table.levels(grad_rows), table.levels(by_row), table.sizes, strict=True
        ):
            count = target.shape[1] - step(w + 3)
            target[:, -count:] += rows[:, :count]
