"""Class scores of an image from those of overlapping tiles, some rows of which live at a time."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..ops.chunks import chunk_bytes
from .rows import Box
from .scores import Scores

_FEWEST_ROWS = 16  # of a chunk, however wide the image


class BlendedTiles:
    """Class scores of an image of any size, tile by tile.

    Where tiles overlap, scores are averaged with weights that fall towards a tile's edges, so
    there are no seams. Rows of an image are finished, and forgotten, while tiles further down have
    not been looked at.

    Args:
        shape: (H, W) of the image.
        tile: Height and width of a tile; those of the image where that is smaller.
        overlap: Of neighbouring tiles, as a share of their side, at least.
        predict: From tiles (top, left, height, width) to their scores.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        tile: tuple[int, int],
        overlap: float,
        predict: Callable[[list[Box]], Sequence[Scores]],
    ) -> None:
        self.shape = shape
        self.size = min(tile[0], shape[0]), min(tile[1], shape[1])
        self.overlaps = int(self.size[0] * overlap), int(self.size[1] * overlap)
        self.predict = predict

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields slices of rows and their scores (rows, W, K), from top to bottom."""
        (height, width), (tile_height, tile_width) = self.shape, self.size
        tops = starts(height, tile_height, self.overlaps[0])
        lefts = starts(width, tile_width, self.overlaps[1])
        alive: list[tuple[Box, Scores]] = []
        for top, end in itertools.pairwise([*tops, height]):
            boxes = [(top, left, tile_height, tile_width) for left in lefts]
            alive += zip(boxes, self.predict(boxes), strict=True)
            for start in range(top, end, self._rows_at_a_time(alive[-1][1])):
                stop = min(start + self._rows_at_a_time(alive[-1][1]), end)
                yield slice(start, stop), self._blend(start, stop, alive)
            alive = [(box, scores) for box, scores in alive if box[0] + box[2] > end]

    def _rows_at_a_time(self, scores: Scores) -> int:
        row_bytes = 2 * 4 * self.shape[1] * scores.num_classes
        return max(_FEWEST_ROWS, chunk_bytes(scores.device) // row_bytes)

    def _blend(self, start: int, stop: int, tiles: Sequence[tuple[Box, Scores]]) -> Tensor:
        scores = tiles[0][1]
        shape, width = (stop - start, self.shape[1]), self.size[1]
        total = torch.zeros(*shape, scores.num_classes, device=scores.device)
        weight = torch.zeros(*shape, 1, device=scores.device)
        across = ramps(width, self.overlaps[1]).to(scores.device)[:, None]
        for (top, left, height, _), scores in tiles:
            first, last = max(start, top), min(stop, top + height)
            if first < last:
                where = slice(first - start, last - start), slice(left, left + width)
                down = ramps(height, self.overlaps[0])[first - top : last - top]
                weights = down.to(scores.device)[:, None, None] * across
                total[where] += scores.rows(first - top, last - top) * weights
                weight[where] += weights
        return total.div_(weight)


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin that cover a length, evenly spread, with at least this overlap."""
    steps = -(-(length - tile) // (tile - overlap))
    return [round(step * (length - tile) / max(steps, 1)) for step in range(steps + 1)]


def ramps(length: int, overlap: int) -> Tensor:
    """Weights (length,) that rise from a tile's edge over the overlap, and fall towards the other.

    Those of two tiles with exactly this overlap add up to 1.
    """
    to_edge = torch.arange(length).add(0.5)
    to_edge = torch.minimum(to_edge, to_edge.flip(0))
    return (to_edge / max(overlap, 0.5)).clamp(max=1)
