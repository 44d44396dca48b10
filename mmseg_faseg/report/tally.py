"""Counts pixels of classes as MMSegmentation's metric and ours do, and who is taken for whom."""

from collections.abc import Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.evaluation import IoUMetric
from torch import Tensor

from ..evaluation import BoundaryIoUMetric, SizeIoUMetric
from ..evaluation.pixels import class_map
from .scores import ClassScores, Evaluation, ImageScore, Mean


class Tally:
    """Adds up pixels of predictions and labels, image by image.

    Args:
        num_classes: K.
        evaluator: Configs of metrics, which may say what is ignored, near a contour, or large.
    """

    def __init__(self, num_classes: int, evaluator: Sequence[dict] = ()) -> None:
        self.num_classes = num_classes
        ignored = _setting(evaluator, 'IoUMetric', 'ignore_index')
        common = dict(ignored, prefix='report')  # without a prefix MMEngine warns
        self.pixels = IoUMetric(**common)
        self.boundary = BoundaryIoUMetric(
            **common, **_setting(evaluator, 'BoundaryIoUMetric', 'distance')
        )
        self.sizes = SizeIoUMetric(**common, **_setting(evaluator, 'SizeIoUMetric', 'areas'))
        self.counts: dict[IoUMetric, list[Tensor]] = {}
        self.confusion = np.zeros((num_classes, num_classes), np.int64)

    def add(self, predicted: Tensor, truth: Tensor) -> Mean:
        """Counts an image.

        Args:
            predicted: Classes, (H, W).
            truth: Classes, (H, W).

        Returns:
            Its mean IoU over the classes that ``truth`` has.
        """
        own = {
            metric: metric.intersect_and_union(
                predicted, truth, self.num_classes, metric.ignore_index
            )
            for metric in (self.pixels, self.boundary, self.sizes)
        }
        for metric, counts in own.items():
            before = self.counts.get(metric, [0.0] * len(counts))
            self.counts[metric] = [a + b.double() for a, b in zip(before, counts, strict=True)]
        self._confuse(class_map(predicted), class_map(truth))
        intersection, union, _, labelled = own[self.pixels]
        there = labelled > 0
        return Mean.of((intersection[there] / union[there]).double().numpy())

    def _confuse(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        labelled = (truth != self.pixels.ignore_index) & (truth < self.num_classes)
        counted = labelled & (predicted < self.num_classes)
        pairs = truth[counted].astype(np.int64) * self.num_classes + predicted[counted]
        size = self.confusion.size
        self.confusion += np.bincount(pairs, minlength=size).reshape(self.confusion.shape)

    def result(
        self, dataset: BaseDataset, images: list[ImageScore], left_out: list[str]
    ) -> Evaluation:
        """What was counted; at least one image was."""
        _, _, predicted, labelled = self.counts[self.pixels]
        by_size = zip(self.sizes.areas, zip(*self.counts[self.sizes], strict=True), strict=True)
        return Evaluation(
            classes=tuple(dataset.metainfo['classes']),
            palette=dataset.metainfo['palette'],
            num_images=len(dataset),
            images=images,
            left_out=left_out,
            pixels=ClassScores.of(self.counts[self.pixels]),
            boundary=ClassScores.of(self.counts[self.boundary]),
            sizes={name: ClassScores.of(counts) for name, counts in by_size},
            distance=self.boundary.distance,
            areas=self.sizes.areas,
            confusion=self.confusion,
            labelled=labelled.long().numpy(),
            predicted=predicted.long().numpy(),
        )


def _setting(evaluator: Sequence[dict], metric: str, key: str) -> dict:
    """The argument of a metric, if the config gives it."""
    for settings in evaluator:
        if str(settings.get('type')).split('.')[-1] == metric and key in settings:
            return {key: settings[key]}
    return {}
