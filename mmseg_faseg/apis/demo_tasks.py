"""What the demo reports and draws: of classes with MMSegmentation, of segments with MMDetection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset, pseudo_collate
from mmseg.models import BaseSegmentor
from torch import nn

from ..explain.focus import focus_of_queries
from ..explain.overlay import save_predictions
from ..explain.pictures import save_focus
from ..explain.segments import paint_segments

_SCENES_DRAWN = 6


class Score(NamedTuple):
    """What came out, beside what should at the end of the config's schedule.

    Attributes:
        name: Of the metric.
        value: On the test set, 0 to 1.
        least: Less of it means that something is wrong.
    """

    name: str
    value: float
    least: float


class SemanticTask:
    """Classes of pixels."""

    next_steps: tuple[str, ...] = ()

    def score(self, metrics: Mapping[str, float]) -> Score:
        return Score('mIoU', metrics['mIoU'] / 100, least=0.70)

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Metrics in a line."""
        return f'mIoU {metrics["mIoU"] / 100:.3f}'

    def draw(self, model: BaseSegmentor, dataset: BaseDataset, folder: Path) -> list[Path]:
        """Writes the pictures and gives their paths."""
        classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
        scenes = []
        for item, sample in _predictions(model, dataset):
            truth, prediction = sample.gt_sem_seg.data[0], sample.pred_sem_seg.data[0]
            scenes.append((_rgb(item), truth.cpu().numpy(), prediction.cpu().numpy()))
        pictures = [folder / 'predictions.png']
        save_predictions(pictures[0], scenes, classes, palette)
        if hasattr(model.decode_head, 'positional_query'):  # not in Mask2Former
            richest = dataset[_richest(dataset)]
            inputs = model.data_preprocessor(pseudo_collate([richest]))['inputs']
            pictures.append(folder / 'focus.png')
            save_focus(pictures[1], _rgb(richest), focus_of_queries(model, inputs), classes)
        return pictures


class PanopticTask:
    """Segments: instances of things, and stuff."""

    next_steps = (
        'the baseline: python tools/demo.py --config mmseg_faseg::mask2former_toy-panoptic.py',
        'COCO, ADE20K, nuclei and how masks become segments: docs/detection.md',
    )

    def score(self, metrics: Mapping[str, float]) -> Score:
        return Score('PQ', metrics['coco_panoptic/PQ'] / 100, least=0.50)

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Metrics in a line."""
        every, things, stuff = (
            metrics[f'coco_panoptic/{name}'] / 100 for name in ('PQ', 'PQ_th', 'PQ_st')
        )
        ap, ap_50 = metrics['coco/segm_mAP'], metrics['coco/segm_mAP_50']
        quality = f'PQ {every:.3f} (things {things:.3f}, stuff {stuff:.3f})'
        return f'{quality}, mask AP {ap:.3f} (at IoU 0.5: {ap_50:.3f})'

    def draw(self, model: nn.Module, dataset: BaseDataset, folder: Path) -> list[Path]:
        """Writes the picture and gives its path."""
        scenes = []
        for item, sample in _predictions(model, dataset):
            prediction = sample.pred_panoptic_seg.sem_seg[0].cpu().numpy()
            scenes.append((_rgb(item), true_segments(sample), prediction))
        classes = [*dataset.metainfo['classes'], 'none']
        palette = [*dataset.metainfo['palette'], (0, 0, 0)]
        picture = folder / 'predictions.png'
        save_predictions(picture, scenes, classes, palette, paint_segments)
        return [picture]


@torch.no_grad()
def _predictions(model: Any, dataset: BaseDataset) -> list[tuple[dict, Any]]:
    """The first items of a data set, each with its sample of truth and prediction."""
    items = [dataset[index] for index in range(min(_SCENES_DRAWN, len(dataset)))]
    return [(item, model.test_step(pseudo_collate([item]))[0]) for item in items]


def true_segments(sample: DetDataSample) -> np.ndarray:
    """Segment ids (H, W) as MMDetection predicts them; no segment is as in label maps, 255."""
    segments = sample.gt_sem_seg.sem_seg[0].cpu().numpy().astype(np.int64)
    for number, mask in enumerate(sample.gt_instances.masks.masks, 1):
        segments[mask.astype(bool)] += number * INSTANCE_OFFSET
    return segments


def _rgb(item: dict) -> np.ndarray:
    return item['inputs'].numpy()[::-1].transpose(1, 2, 0)


def _richest(dataset: BaseDataset) -> int:
    """The image in which most classes appear."""
    counts = [
        len(dataset[index]['data_samples'].gt_sem_seg.data.unique())
        for index in range(len(dataset))
    ]
    return int(np.argmax(counts))
