"""Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562) for semantic segmentation."""

import math
from typing import Any

import cv2
import numpy as np
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from .pixels import class_map, pixels_by_class

# Beyond any class id, and beyond what lies outside the image.
_LOWEST, _HIGHEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max


@METRICS.register_module()
class BoundaryIoUMetric(IoUMetric):
    """IoU of the pixels near a contour: ``boundary/mIoU`` and what else ``IoUMetric`` returns.

    Of each class, those pixels of prediction and ground truth are compared that lie within a
    distance d of their own mask's contour; they are summed over images, as in ``IoUMetric``.

    As in the authors' code, distances are those of a square (d erosions by 3 x 3 pixels), and a
    mask ends at the edge of the image. That pixels are ignored, which instances have no need of, is
    ours: in prediction and ground truth alike they are neither compared nor a contour of their
    neighbours.

    Args:
        distance: d as a share of the image's diagonal, rounded to pixels, at least one.
        **kwargs: ``IoUMetric``'s arguments.

    Raises:
        ValueError: ``distance`` is no share.
    """

    default_prefix = 'boundary'

    def __init__(self, distance: float = 0.02, **kwargs: Any) -> None:
        if not 0 < distance < 1:
            raise ValueError(
                f"distance must be a share of the image's diagonal in (0, 1), got {distance}"
            )
        super().__init__(**kwargs)
        self.distance = distance

    def intersect_and_union(
        self, pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Counts an image's pixels near contours.

        Args:
            pred_label: Predicted classes, (H, W).
            label: Classes, (H, W).
            num_classes: K.
            ignore_index: The class of pixels that are ignored.

        Returns:
            Pixels of each class, (K,), in the intersection, the union, the prediction and the
            ground truth.
        """
        predicted, truth = class_map(pred_label), class_map(label)
        ignored = truth == ignore_index
        distance = max(1, round(self.distance * math.hypot(*truth.shape)))
        predicted_edge, true_edge = (near_contour(x, ignored, distance) for x in (predicted, truth))
        intersection, in_prediction, in_truth = (
            pixels_by_class(classes, num_classes)
            for classes in (
                truth[predicted_edge & true_edge & (predicted == truth)],
                predicted[predicted_edge],
                truth[true_edge],
            )
        )
        return intersection, in_prediction + in_truth - intersection, in_prediction, in_truth


def near_contour(labels: np.ndarray, ignored: np.ndarray, distance: int) -> np.ndarray:
    """Which pixels have another class, or the edge of the image, within a distance.

    Args:
        labels: Class map (H, W).
        ignored: Pixels (H, W), bool, that are neither near a contour nor make one.
        distance: In pixels, at least 1, of a square.

    Returns:
        (H, W), bool.
    """
    # For all classes at once: a pixel's square holds its class alone if least and greatest agree.
    labels, one_pixel = labels.astype(np.int16), np.ones((3, 3), np.uint8)
    least = cv2.erode(
        np.where(ignored, _HIGHEST, labels),
        one_pixel,
        iterations=distance,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=_LOWEST,
    )
    greatest = cv2.dilate(np.where(ignored, _LOWEST, labels), one_pixel, iterations=distance)
    return (least != greatest) & ~ignored
