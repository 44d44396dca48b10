"""Metrics of semantic segmentation for models that predict panoptic segments."""

from collections.abc import Sequence
from typing import Any

from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, DefaultScope

from ..errors import UserError


@METRICS.register_module()
class SemanticMetrics(BaseMetric):
    """MMSegmentation's metrics, and ours, of the classes of panoptic segments.

    From the same predictions as MMDetection's ``CocoPanopticMetric``: objects of a class become one
    area. Where no segment was predicted, no class is right.

    Args:
        metrics: Configs of metrics as MMSegmentation takes them, such as
            ``[dict(type='IoUMetric'), dict(type='BoundaryIoUMetric')]``.
        **kwargs: As of MMEngine's ``BaseMetric``.

    Raises:
        UserError: When samples are processed: their pipeline loads no label map.
    """

    def __init__(self, metrics: Sequence[dict], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with DefaultScope.overwrite_default_scope('mmseg'):
            self.metrics: list[BaseMetric] = [METRICS.build(config) for config in metrics]

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the data set, ``classes`` among it."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        for metric in self.metrics:
            metric.dataset_meta = meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Takes samples with ``pred_panoptic_seg`` and ``gt_sem_seg``, both ``sem_seg`` (1, H, W).

        Their values are class ids, of the first with the multiples of 1000 that tell objects apart.
        """
        maps = [_class_maps(sample, self._dataset_meta) for sample in data_samples]
        for metric in self.metrics:
            metric.process(data_batch, maps)

    def compute_metrics(self, results: list) -> dict:
        """Nothing of its own: see :meth:`evaluate`."""
        return {}

    def evaluate(self, size: int) -> dict[str, float]:
        """What the metrics find, all together.

        Args:
            size: Number of images of the data set.
        """
        found: dict[str, float] = {}
        for metric in self.metrics:
            found |= metric.evaluate(size)
        return found


def _class_maps(sample: dict, dataset_meta: dict) -> dict:
    """A sample of MMDetection as MMSegmentation's metrics read it."""
    if 'gt_sem_seg' not in sample:
        raise UserError(
            f'SemanticMetrics: {sample.get("img_path", "a sample")} comes without a label map: the '
            'pipeline needs LoadPanopticAnnotations'
        )
    ids, classes = sample['pred_panoptic_seg']['sem_seg'], dataset_meta['classes']
    predicted = ids % INSTANCE_OFFSET
    if classes[0] in dataset_meta['thing_classes']:  # whose objects are counted from 1
        # MMDetection's metric, if it comes first, has written 0 where there is no segment.
        predicted = predicted.masked_fill(ids == 0, len(classes))
    truth = sample['gt_sem_seg']['sem_seg'].to(predicted.device)
    return dict(sample, pred_sem_seg=dict(data=predicted), gt_sem_seg=dict(data=truth))
