"""Label maps, and ways to have a metric judge them."""

from collections.abc import Iterable

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

IGNORED = 255
Pairs = list[tuple[np.ndarray, np.ndarray]]


def evaluate(metric: BaseMetric, pairs: Pairs, num_classes: int) -> dict[str, float]:
    """What a metric says of pairs of predicted and true label maps (H, W)."""
    process(metric, pairs, num_classes)
    return metric.evaluate(len(pairs))


def process(metric: BaseMetric, pairs: Pairs, num_classes: int) -> list:
    """Has a metric look at pairs of predicted and true label maps (H, W); what it keeps of them."""
    metric.dataset_meta = dict(classes=[str(index) for index in range(num_classes)])
    for pair in pairs:
        predicted, truth = (dict(data=torch.from_numpy(labels)[None]) for labels in pair)
        metric.process({}, [dict(pred_sem_seg=predicted, gt_sem_seg=truth)])
    return metric.results


def random_maps(seed: int, sizes: Iterable[tuple[int, int]]) -> Pairs:
    """Predictions that are half right and ground truths, of classes 0 to 3, some pixels ignored.

    Blobs, lines and single pixels, of each class.
    """
    generator = np.random.default_rng(seed)
    pairs = []
    for height, width in sizes:
        blobs = generator.integers(0, 4, (height // 4 + 1, width // 4 + 1))
        truth = np.kron(blobs, np.ones((4, 4), int))[:height, :width]
        predicted = np.roll(truth, generator.integers(0, 3), axis=1)
        for labels in (truth, predicted):
            dots = generator.random(labels.shape) < 0.1
            labels[dots] = generator.integers(0, 4, dots.sum())
        truth[generator.random(truth.shape) < 0.05] = IGNORED
        truth[:, -2:] = np.where(generator.random() < 0.5, IGNORED, truth[:, -2:])
        pairs.append((predicted, truth))
    return pairs
