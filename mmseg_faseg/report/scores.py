"""How good predictions are, as numbers: of classes, of images, of a data set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmseg.evaluation import IoUMetric
from torch import Tensor


@dataclass(frozen=True)
class Mean:
    """A mean over those classes that have a value.

    Attributes:
        value: nan if no class has one.
        over: Their number.
    """

    value: float
    over: int

    @classmethod
    def of(cls, values: np.ndarray) -> 'Mean':
        """Of values (K,), nan where a class has none."""
        there = values[~np.isnan(values)]
        return cls(float(there.mean()) if len(there) else math.nan, len(there))


@dataclass(frozen=True)
class ClassScores:
    """Shares from 0 to 1, as ``IoUMetric`` has them.

    Attributes:
        iou: Of each class, (K,); nan for one that neither labels nor predictions have.
        accuracy: Of each class, (K,), the share of its labelled pixels that were found; nan for one
            that the labels have not.
        right: Share of all labelled pixels that were predicted right; nan if there are none.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    right: float

    @property
    def mean_iou(self) -> Mean:
        """Over the classes that labels or predictions have."""
        return Mean.of(self.iou)

    @property
    def mean_accuracy(self) -> Mean:
        """Over the classes that the labels have."""
        return Mean.of(self.accuracy)

    @classmethod
    def of(cls, areas: Sequence[Tensor]) -> 'ClassScores':
        """Of pixels of each class, (K,): intersection, union, prediction, ground truth."""
        scores = IoUMetric.total_area_to_metrics(*areas, metrics=['mIoU'])
        return cls(scores['IoU'], scores['Acc'], float(scores['aAcc']))


@dataclass(frozen=True)
class ImageScore:
    """How good the prediction of an image is.

    Attributes:
        name: Its path below the folder that all images lie in.
        index: In the data set.
        iou: Mean over the classes that the image's label map has.
    """

    name: str
    index: int
    iou: Mean


@dataclass(frozen=True)
class Evaluation:
    """What was counted over a data set of K classes.

    Attributes:
        classes: Names.
        palette: RGB of each class.
        num_images: Of the data set; those in ``images`` and ``left_out`` were looked at.
        images: Those that were judged.
        left_out: Why others were not, a line each.
        pixels: Scores of all pixels.
        boundary: Of those near contours.
        sizes: Of pixels by the size of their segments.
        distance: Up to which a pixel is near a contour, as a share of the image's diagonal.
        areas: From which area in pixels on a segment is of a size.
        confusion: Pixels (K, K) by true class, in rows, and predicted class.
        labelled: Pixels (K,) of each class in the labels.
        predicted: The same in the predictions, ignored pixels left out.
    """

    classes: tuple[str, ...]
    palette: Sequence[Sequence[int]]
    num_images: int
    images: list[ImageScore]
    left_out: list[str]
    pixels: ClassScores
    boundary: ClassScores
    sizes: dict[str, ClassScores]
    distance: float
    areas: dict[str, float]
    confusion: np.ndarray
    labelled: np.ndarray
    predicted: np.ndarray

    def worst_first(self) -> list[ImageScore]:
        """Images in the order of their scores; those without labelled pixels have none."""
        scored = [image for image in self.images if image.iou.over]
        return sorted(scored, key=lambda image: image.iou.value)


def most_different(evaluations: Sequence[Evaluation]) -> list[tuple[ImageScore, ...]]:
    """Images that several runs predicted, those first whose scores differ most between runs.

    Returns:
        For each image its scores in the order of the evaluations.
    """
    by_name = [{image.name: image for image in one.worst_first()} for one in evaluations]
    common = set.intersection(*map(set, by_name))
    found = [tuple(images[name] for images in by_name) for name in sorted(common)]
    return sorted(found, key=_spread, reverse=True)


def _spread(images: Sequence[ImageScore]) -> float:
    values = [image.iou.value for image in images]
    return max(values) - min(values)
