"""What a model says about an image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..explain.legend import Entry, percent, with_legend
from ..explain.overlay import overlay

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True, eq=False)
class Prediction:
    """The class of every pixel of an image, and what follows from it.

    Attributes:
        image: What was predicted from, RGB (H, W, 3) uint8.
        label_map: The number of each pixel's class, (H, W) uint8; uint16 with more than 256
            classes.
        classes: Names of all classes that the model knows: ``classes[label_map[y, x]]``.
        palette: RGB of each class, 0 to 255.
        pixels: How many pixels each class has that occurs, the largest first.
        confidence: For each class that occurs the mean probability of its pixels, 0 to 1.
    """

    image: np.ndarray = field(repr=False)
    label_map: np.ndarray = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    palette: tuple[tuple[int, int, int], ...] = field(repr=False)
    pixels: dict[str, int]
    confidence: dict[str, float]

    @property
    def areas(self) -> dict[str, float]:
        """The share of the image that each class has that occurs, the largest first."""
        return {name: count / self.label_map.size for name, count in self.pixels.items()}

    def overlay(self, legend: bool = True, opacity: float = 0.65) -> np.ndarray:
        """The image with its classes painted over it.

        Args:
            legend: Whether to add a column on the right with the classes that occur, their colours
                and shares.
            opacity: Of the paint, 0 to 1.

        Returns:
            RGB uint8, of the image's height and width, or larger with a legend.
        """
        painted = overlay(self.image, self.label_map, self.palette, opacity)
        if not legend:
            return painted
        return with_legend(painted, [self.legend_entry(name) for name in self.pixels])

    def legend_entry(self, name: str) -> Entry:
        """The colour of a class, and its name and share."""
        share = self.pixels.get(name, 0) / self.label_map.size
        return self.palette[self.classes.index(name)], f'{name}  {percent(share)}'

    def to_supervision(self) -> 'Detections':
        """As `supervision <https://supervision.roboflow.com>`_'s detections, one per class.

        Returns:
            Detections with ``mask`` (N, H, W), ``class_id``, ``confidence`` and, in ``data``,
            ``class_name``.

        Raises:
            UserError: The package is not installed.
        """
        try:
            import supervision
        except ImportError:
            raise UserError(
                "supervision is not installed: pip install 'mmseg_faseg[supervision]'"
            ) from None
        ids = [self.classes.index(name) for name in self.pixels]
        masks = np.stack([self.label_map == label for label in ids])
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(masks),
            mask=masks,
            class_id=np.array(ids),
            confidence=np.array(list(self.confidence.values()), dtype=np.float32),
            data={'class_name': np.array(list(self.pixels))},
        )


class ScoreChunks(Protocol):
    """Class scores of an image, piece by piece."""

    shape: tuple[int, int]

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields slices of rows and their scores (rows, W, K), from top to bottom."""


class ClassMap(NamedTuple):
    """The class of every pixel, and how sure each is.

    Attributes:
        labels: (H, W) uint8, or uint16.
        pixels: Of each class, (K,).
        confidence: Mean probability of each class' pixels, (K,); 0 for those without.
    """

    labels: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray


def share_of_scores(scores: Tensor) -> Tensor:
    """Probabilities from sums over masks (..., K): the share that a class has of them."""
    return scores / scores.sum(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)


def softmax(scores: Tensor) -> Tensor:
    """Probabilities from class logits (..., K)."""
    return scores.softmax(-1)


def class_map(
    scores: ScoreChunks,
    count: int,
    probabilities: Callable[[Tensor], Tensor],
    labels: np.ndarray | None = None,
) -> ClassMap:
    """Takes the class with the largest score, a few rows at a time.

    Args:
        scores: Of the image.
        count: Number of classes K.
        probabilities: Makes probabilities of scores (rows, W, K).
        labels: Classes that were found by other means, to measure how sure they are.

    Raises:
        UserError: Scores are not finite.
    """
    found = np.empty(scores.shape, np.uint8 if count <= 256 else np.uint16)
    pixels, sums = np.zeros(count, np.int64), np.zeros(count)
    for rows, values in scores.chunks():
        if labels is None:
            chosen = values.argmax(-1)
        else:
            chosen = torch.from_numpy(labels[rows].astype(np.int64)).to(values.device)
        sure = probabilities(values).gather(-1, chosen[..., None])[..., 0].cpu().numpy()
        found[rows] = chosen.cpu().numpy()
        pixels += np.bincount(found[rows].ravel(), minlength=count)
        sums += np.bincount(found[rows].ravel(), sure.ravel(), minlength=count)
    if not np.isfinite(sums).all():
        raise UserError('class scores are not finite: without amp they may be')
    return ClassMap(found, pixels, sums / np.maximum(pixels, 1))
