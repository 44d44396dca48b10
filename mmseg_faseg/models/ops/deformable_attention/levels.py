"""Where the tokens of several feature levels lie."""

from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

Sizes = tuple[tuple[int, int], ...]


class Geometry(NamedTuple):
    """Where the tokens of several levels lie; made once, used by every layer.

    Positions are counted in pixels of a level; 0 is the centre of its first pixel.

    Attributes:
        sizes: (H_l, W_l) of each level, as plain numbers.
        centres: (N, 2, heads, L, points), x and y of each token's own position on each level, the
            same for all heads and points.
        extents: (2, L), W_l and H_l of each level.
        shapes: (L, 2), int64, H_l and W_l, as MMCV's operator takes them.
        first: (L,), int64, index of each level's first token.
    """

    sizes: Sizes
    centres: Tensor
    extents: Tensor
    shapes: Tensor
    first: Tensor

    @classmethod
    def of(cls, sizes: Sizes, heads: int, points: int, like: Tensor) -> 'Geometry':
        """Lays out levels of these sizes on a tensor's device.

        Each token's share of a level is a float32 number, as in MMDetection; its position is as
        precise as ``like``, and at least float32.
        """
        device, dtype = like.device, torch.promote_types(like.dtype, torch.float32)
        shares = []
        for height, width in sizes:
            # By tensors: CUDA multiplies by the rounded reciprocal of a plain number.
            y = (torch.arange(height, device=device) + 0.5) / filled(
                torch.sym_float(height), device
            )
            x = (torch.arange(width, device=device) + 0.5) / filled(torch.sym_float(width), device)
            # not repeat_interleave, of which ONNX export makes something else
            grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1)
            shares.append(grid.flatten(0, 1))
        heights, widths = zip(*sizes, strict=True)
        extents = filled(
            [[torch.sym_float(w) for w in widths], [torch.sym_float(h) for h in heights]], device
        )
        extents = extents.to(dtype)
        centres = torch.cat(shares).to(dtype)[..., None] * extents - 0.5
        centres = centres[:, :, None, :, None].expand(-1, -1, heads, -1, points)
        shapes = extents.T.flip(-1).long().contiguous()
        first = filled(starts_of([height * width for height, width in sizes]), device)
        return cls(sizes, centres.contiguous(), extents, shapes, first)

    @property
    def starts(self) -> list[int]:
        """Index of each level's first token."""
        return starts_of([height * width for height, width in self.sizes])

    def normalised(self, positions: Tensor) -> Tensor:
        """Positions (..., 2, heads, L, points) as MMCV has them, (..., heads, L, points, 2).

        Counted in shares of a level, from its corner.
        """
        locations = (positions + 0.5) / self.extents[:, None, :, None]
        return locations.movedim(-4, -1)


def filled(numbers: Any, device: torch.device) -> Tensor:
    """A tensor of a number, or of nested lists of them, filled on the device.

    Made from a list it would be copied there, and waited for.
    """
    if isinstance(numbers, list):
        return torch.stack([filled(n, device) for n in numbers])
    return torch.full((), numbers, device=device)


def starts_of(counts: list[int]) -> list[int]:
    """Index of the first item of each level when the levels follow one another."""
    return [0, *accumulate(counts)][:-1]
