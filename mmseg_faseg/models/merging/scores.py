"""Class scores of an image at its original size, rows of which are made when they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from .rows import row_slices


class Scores(ABC):
    """Class scores (H, W, K) that need not all be there at a time.

    Attributes:
        shape: (H, W) of the original image.
        num_classes: Number of classes K.
        device: Where they are made.
        row_bytes: What a row costs on the way to its scores.
    """

    shape: tuple[int, int]
    num_classes: int
    device: torch.device
    row_bytes: int

    @abstractmethod
    def rows(self, start: int, stop: int) -> Tensor:
        """Scores (stop - start, W, K) of rows of the image."""

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields slices of rows and their scores (rows, W, K), from top to bottom."""
        for rows in row_slices(self.shape[0], self.row_bytes, self.device):
            yield rows, self.rows(rows.start, rows.stop)


class StoredScores(Scores):
    """Scores that were made all at once, (K, H, W), as MMSegmentation's segmentors do."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.num_classes, *size = values.shape
        self.shape = (size[0], size[1])
        self.device = values.device
        self.row_bytes = 4 * self.num_classes * size[1]

    def rows(self, start: int, stop: int) -> Tensor:
        """Scores (stop - start, W, K)."""
        return self.values[:, start:stop].permute(1, 2, 0)


class MeanScores(Scores):
    """The mean over views of an image, such as its mirror image and other sizes.

    Of scores that are stored no more than a sum is kept.

    Args:
        first: Scores of the first view.
    """

    def __init__(self, first: Scores) -> None:
        self.views = [first]
        self.count = 1
        self.shape, self.num_classes, self.device = first.shape, first.num_classes, first.device

    def add(self, view: Scores) -> None:
        """Adds the scores of one more view."""
        self.count += 1
        first = self.views[0]
        if isinstance(view, StoredScores) and isinstance(first, StoredScores):
            first.values += view.values
        else:
            self.views.append(view)

    @property
    def row_bytes(self) -> int:  # type: ignore[override]
        """What a row costs in the view where it costs most."""
        return max(view.row_bytes for view in self.views)

    def rows(self, start: int, stop: int) -> Tensor:
        """Scores (stop - start, W, K)."""
        total = self.views[0].rows(start, stop)
        for view in self.views[1:]:
            total = total + view.rows(start, stop)
        return total / self.count
