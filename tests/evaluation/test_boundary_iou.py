"""Boundary IoU against plain loops over pixels, and by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from mmseg_faseg.evaluation import BoundaryIoUMetric
from tests.helpers.evaluation import IGNORED, evaluate, random_maps


def edge(labels, ignored, distance):
    """Pixels that see another class or the outside in the square around them, one by one."""
    height, width = labels.shape
    found = np.zeros((height, width), bool)
    steps = range(-distance, distance + 1)
    for y, x, dy, dx in itertools.product(range(height), range(width), steps, steps):
        there = y + dy, x + dx
        inside = 0 <= there[0] < height and 0 <= there[1] < width
        if not inside or (not ignored[there] and labels[there] != labels[y, x]):
            found[y, x] = True
    return found & ~ignored


def expected(pairs, num_classes, share):
    """IoU of each class in percent; nan where it has no pixel near a contour."""
    intersection, union = np.zeros(num_classes), np.zeros(num_classes)
    for predicted, truth in pairs:
        ignored = truth == IGNORED
        distance = max(1, round(share * math.hypot(*truth.shape)))
        edges = edge(predicted, ignored, distance), edge(truth, ignored, distance)
        for index in range(num_classes):
            a, b = edges[0] & (predicted == index), edges[1] & (truth == index)
            intersection[index] += (a & b).sum()
            union[index] += (a | b).sum()
    with np.errstate(invalid='ignore'):
        return 100 * intersection / union


@pytest.mark.parametrize('share', [0.02, 0.15])
@pytest.mark.parametrize('seed', range(4))
def test_it_is_what_plain_loops_find(seed, share):
    pairs = random_maps(seed, sizes=[(9, 13), (16, 12), (1, 7)])
    found = evaluate(BoundaryIoUMetric(distance=share), pairs, num_classes=5)
    by_class = expected(pairs, 5, share)
    assert np.isnan(by_class).sum() == 1  # no image shows the last class
    assert found['boundary/mIoU'] == pytest.approx(np.nanmean(by_class), abs=0.0051)


def test_by_hand():
    truth = np.zeros((7, 7), int)
    truth[1:6, 1:6] = 1
    predicted = np.zeros((7, 7), int)
    predicted[1:6, 2:6] = 1
    # d = round(0.1 * 9.9) = 1. Class 1: contours of 16 pixels around 5 x 5 and of 14 around 5 x 4,
    # which share 11: top and bottom 4 each, 3 on the right.
    # Class 0: rings of 24 pixels, all of them at the edge of the image; with the column that the
    # prediction adds, 5 more.
    metrics = evaluate(BoundaryIoUMetric(distance=0.1), [(predicted, truth)], num_classes=2)
    mean = 100 * (11 / (16 + 14 - 11) + 24 / 29) / 2
    assert metrics['boundary/mIoU'] == pytest.approx(mean, abs=0.0051)


def test_the_inside_of_a_mask_counts_for_nothing():
    truth = np.zeros((40, 40), int)
    predicted = truth.copy()
    predicted[20, 20] = 1  # 20 pixels from any contour of the truth
    metrics = evaluate(BoundaryIoUMetric(), [(predicted, truth)], num_classes=2)
    # Class 0: the frame is right, and the 8 pixels around the hole are wrong; class 1 is wrong.
    frame = 40**2 - 38**2
    assert metrics['boundary/mIoU'] == pytest.approx(100 * frame / (frame + 8) / 2, abs=0.0051)


def test_ignored_pixels_are_no_contour_and_not_compared():
    truth = np.zeros((9, 9), int)
    truth[:, 4:] = 1
    ignored = truth.copy()
    ignored[2:7, 2:7] = IGNORED
    predicted = ignored.copy()
    predicted[ignored == IGNORED] = np.arange(25) % 2
    metrics = evaluate(BoundaryIoUMetric(), [(predicted, ignored)], num_classes=2)
    assert metrics['boundary/mIoU'] == 100
    empty = BoundaryIoUMetric().intersect_and_union(
        torch.zeros(9, 9).long(), torch.full((9, 9), IGNORED), 2, IGNORED
    )
    assert all(areas.tolist() == [0, 0] for areas in empty)


def test_another_label_may_be_ignored():
    truth = np.array([[0, 0, 1, 2], [0, 0, 1, 2]])
    predicted = np.array([[1, 2, 1, 2], [2, 1, 1, 2]])
    metrics = evaluate(BoundaryIoUMetric(ignore_index=0), [(predicted, truth)], num_classes=3)
    assert metrics['boundary/mAcc'] == 100


@pytest.mark.parametrize('distance', [0, 1, 12])
def test_a_distance_in_pixels_is_refused(distance):
    with pytest.raises(ValueError, match=rf"share of the image's diagonal .*, got {distance}"):
        BoundaryIoUMetric(distance=distance)
