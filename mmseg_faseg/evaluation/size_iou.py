"""IoU by the size of segments."""

import warnings
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from .pixels import class_map, pixels_by_class

_COCO = dict(small=0, medium=32**2, large=96**2)


@METRICS.register_module()
class SizeIoUMetric(IoUMetric):
    """IoU of small and of large segments: ``small/mIoU``, and what else ``IoUMetric`` returns.

    A segment is a connected component of a class, whose pixels may touch at corners. True positives
    and misses count for the size of the ground-truth segment that the pixel belongs to, a false
    positive for that of the predicted segment that it belongs to; so a segment that is predicted
    too large is held against both. All are summed over images, as in ``IoUMetric``, and the mean is
    over the classes with pixels of that size; where there are none at all it is nan.

    Ignored pixels count for nothing: they are part of no segment, predicted or true.

    Args:
        areas: Names of sizes and the least area of each in pixels of the label map, from 0 upwards.
            By default COCO's: small, medium from 32 x 32, large from 96 x 96.
        **kwargs: ``IoUMetric``'s arguments.

    Raises:
        ValueError: ``areas`` do not start at 0 or do not grow.
    """

    def __init__(self, areas: dict[str, float] | None = None, **kwargs: Any) -> None:
        self.areas = dict(areas or _COCO)
        least = list(self.areas.values())
        if least[0] != 0 or any(b <= a for a, b in zip(least, least[1:], strict=False)):
            raise ValueError(
                'areas must name sizes by their least area, growing from 0, such as '
                f'{_COCO}, got {self.areas}'
            )
        super().__init__(**kwargs)

    def intersect_and_union(
        self, pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Counts an image's pixels by the size of their segments.

        Args:
            pred_label: Predicted classes, (H, W).
            label: Classes, (H, W).
            num_classes: K.
            ignore_index: The class of pixels that are ignored.

        Returns:
            Pixels of each of S sizes and each class, (S, K): true positives, true positives with
            false ones and misses, true and false positives, true positives and misses.
        """
        predicted, truth = class_map(pred_label), class_map(label)
        counted = truth != ignore_index
        predicted_size, true_size = (self._sizes(x, counted) for x in (predicted, truth))
        right = counted & (predicted == truth)

        def count(labels: np.ndarray, sizes: np.ndarray, where: np.ndarray) -> Tensor:
            sizes = np.where(where, sizes, -1)
            by_size = [labels[sizes == index] for index in range(len(self.areas))]
            return torch.stack([pixels_by_class(own, num_classes) for own in by_size])

        true_positives = count(truth, true_size, right)
        positives = true_positives + count(predicted, predicted_size, counted & ~right)
        in_truth = count(truth, true_size, counted)
        return true_positives, in_truth + positives - true_positives, positives, in_truth

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics of ``IoUMetric`` for each size, such as ``{'small/mIoU': 31.4, ...}``."""
        metrics: dict[str, float] = {}
        for index, name in enumerate(self.areas):
            own = [tuple(area[index] for area in image) for image in results]
            print_log(f'segments of size {name!r}:', 'current')
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', message='Mean of empty slice')
                found = super().compute_metrics(own)
            metrics |= {f'{name}/{key}': value for key, value in found.items()}
        return metrics

    def _sizes(self, labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """The size of each pixel's segment, (H, W), by its place in ``areas``."""
        return np.digitize(segment_areas(labels, counted), list(self.areas.values())[1:])


def segment_areas(labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The area of each pixel's segment.

    Args:
        labels: Class map (H, W).
        counted: Pixels (H, W), bool, that are part of segments.

    Returns:
        (H, W), in pixels; 0 for those that are part of none.
    """
    areas = np.zeros(labels.shape, np.int64)
    for index in np.unique(labels[counted]):
        mask = (labels == index) & counted
        _, segments, statistics, _ = cv2.connectedComponentsWithStats(
            mask.astype(np.uint8), connectivity=8
        )
        areas[mask] = statistics[segments[mask], cv2.CC_STAT_AREA]
    return areas
