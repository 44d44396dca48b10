"""IoU by the size of segments, against plain loops over pixels, and by hand."""

import itertools

import numpy as np
import pytest

from mmseg_faseg.evaluation import SizeIoUMetric
from tests.helpers.evaluation import IGNORED, evaluate, random_maps

AREAS = dict(dots=0, small=2, large=8)


def areas(labels, ignored):
    """Area of each pixel's segment, which grows from one pixel over all that touch it."""
    height, width = labels.shape
    found = np.zeros(labels.shape, int)
    for start in itertools.product(range(height), range(width)):
        segment, waiting = set(), [] if ignored[start] or found[start] else [start]
        while waiting:
            y, x = waiting.pop()
            segment.add((y, x))
            for there in itertools.product(range(y - 1, y + 2), range(x - 1, x + 2)):
                inside = 0 <= there[0] < height and 0 <= there[1] < width
                if inside and there not in segment and not ignored[there]:
                    waiting += [there] if labels[there] == labels[start] else []
        for pixel in segment:
            found[pixel] = len(segment)
    return found


def size_of(area):
    return [name for name, least in AREAS.items() if area >= least][-1]


def expected(pairs, num_classes):
    """Means in percent by size."""
    intersection, union = ({name: np.zeros(num_classes) for name in AREAS} for _ in range(2))
    for predicted, truth in pairs:
        ignored = truth == IGNORED
        predicted_area, true_area = areas(predicted, ignored), areas(truth, ignored)
        for pixel in zip(*np.nonzero(~ignored), strict=True):
            union[size_of(true_area[pixel])][truth[pixel]] += 1
            if predicted[pixel] == truth[pixel]:
                intersection[size_of(true_area[pixel])][truth[pixel]] += 1
            else:
                union[size_of(predicted_area[pixel])][predicted[pixel]] += 1
    with np.errstate(invalid='ignore'):
        return {name: 100 * np.nanmean(intersection[name] / union[name]) for name in AREAS}


@pytest.mark.parametrize('seed', range(4))
def test_it_is_what_plain_loops_find(seed):
    pairs = random_maps(seed, sizes=[(9, 13), (16, 12), (1, 7)])
    metrics = evaluate(SizeIoUMetric(areas=AREAS), pairs, num_classes=5)
    for name, value in expected(pairs, 5).items():
        assert 0 < value < 100
        assert metrics[f'{name}/mIoU'] == pytest.approx(value, abs=0.0051)


def test_by_hand():
    truth = np.zeros((6, 6), int)  # a large segment of 31 pixels, with
    truth[1, 1] = 1  # a dot of class 1, and
    truth[3, 3:5] = truth[4, 3:5] = 1  # four pixels of it
    predicted = np.zeros((6, 6), int)
    predicted[3, 3:5] = 1  # half of the four,
    predicted[0, 5] = 1  # and a dot where there is none
    metrics = evaluate(SizeIoUMetric(areas=AREAS), [(predicted, truth)], num_classes=3)
    # Dots of class 1: one missed, one made up. Small: 2 of 4.
    assert metrics['dots/mIoU'] == 0
    assert metrics['small/mIoU'] == 50
    # Class 0: 30 of 31 found, 3 false positives, of a predicted segment of 33 pixels.
    assert metrics['large/mIoU'] == pytest.approx(100 * 30 / 34, abs=0.0051)
    assert metrics['large/mAcc'] == pytest.approx(100 * 30 / 31, abs=0.0051)


def test_segments_may_touch_at_corners():
    truth = np.eye(4, dtype=int)
    metrics = evaluate(SizeIoUMetric(areas=dict(dots=0, more=4)), [(truth, truth)], num_classes=2)
    assert np.isnan(metrics['dots/mIoU'])
    assert metrics['more/mIoU'] == 100


def test_ignored_pixels_cut_both_maps_alike():
    truth = np.full((3, 7), 1)
    truth[:, 3] = IGNORED
    predicted = np.full((3, 7), 1)
    metrics = evaluate(SizeIoUMetric(areas=AREAS), [(predicted, truth)], num_classes=2)
    assert metrics['large/mIoU'] == 100  # 9 pixels on either side
    predicted[:, :3] = 0  # in one piece with what is ignored
    predicted[:, 3] = 0
    metrics = evaluate(SizeIoUMetric(areas=AREAS), [(predicted, truth)], num_classes=2)
    assert metrics['large/mIoU'] == 25  # half of class 1; 9 pixels of class 0 are made up


def test_the_bounds_are_cocos_and_belong_to_the_larger_size():
    def sizes(side):
        truth = np.zeros((200, 200), int)
        truth[:side, :side] = 1
        metrics = evaluate(SizeIoUMetric(ignore_index=0), [(truth, truth)], num_classes=2)
        return [name for name in ('small', 'medium', 'large') if metrics[f'{name}/mIoU'] == 100]

    assert [sizes(side) for side in (31, 32, 95, 96)] == [
        ['small'],
        ['medium'],
        ['medium'],
        ['large'],
    ]


@pytest.mark.parametrize('areas', [dict(small=1), dict(small=0, large=9, medium=4)])
def test_areas_that_do_not_grow_from_zero_are_refused(areas):
    with pytest.raises(ValueError, match=r"growing from 0, such as .*, got \{'small'"):
        SizeIoUMetric(areas=areas)
