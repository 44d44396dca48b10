"""The stand-in for panopticapi gives what MMDetection takes from it."""

import sys

import numpy as np
import pytest
from mmdet.evaluation import CocoPanopticMetric
from mmdet.evaluation.functional import panoptic_utils

from mmseg_faseg.compat import panopticapi

CATEGORIES = {1: dict(isthing=1), 2: dict(isthing=1), 3: dict(isthing=0), 7: dict(isthing=0)}


def test_mmdetection_finds_it():
    assert 'panopticapi' in sys.modules
    assert panoptic_utils.PQStat is not None
    CocoPanopticMetric()  # refuses to be built without


def test_ids_and_colours():
    ids = np.array([[0, 1, 255], [256, 65536, 256**3 - 1]])
    colours = panopticapi.id2rgb(ids)
    assert colours.dtype == np.uint8
    assert colours.tolist()[0] == [[0, 0, 0], [1, 0, 0], [255, 0, 0]]
    assert colours.tolist()[1] == [[0, 1, 0], [0, 0, 1], [255, 255, 255]]
    assert (panopticapi.rgb2id(colours) == ids).all()


def counted():
    quality = panopticapi.PanopticQuality()
    quality[1].tp += 2
    quality[1].iou += 1.4
    quality[1].fp += 1
    quality[2].fn += 3
    quality[3].tp += 1
    quality[3].iou += 0.9
    return quality


def test_quality_is_that_of_the_paper():
    means, by_class = counted().pq_average(CATEGORIES, isthing=None)
    assert by_class[1] == pytest.approx(dict(pq=1.4 / 2.5, sq=0.7, rq=2 / 2.5))
    assert by_class[2] == dict(pq=0, sq=0, rq=0)  # missed: it counts
    assert by_class[7] == dict(pq=0, sq=0, rq=0)  # not there: it does not
    assert means == pytest.approx(
        dict(pq=(0.56 + 0 + 0.9) / 3, sq=(0.7 + 0.9) / 3, rq=(0.8 + 0 + 1) / 3, n=3)
    )
    assert counted().pq_average(CATEGORIES, isthing=False)[0] == dict(pq=0.9, sq=0.9, rq=1, n=1)
    things, of_things = counted().pq_average(CATEGORIES, isthing=True)
    assert (things['n'], set(of_things)) == (2, {1, 2})


def test_counts_of_several_processes_add_up():
    total = panopticapi.PanopticQuality()
    total += counted()
    total += counted()
    assert (total[1].tp, total[1].iou, total[2].fn) == (4, pytest.approx(2.8), 6)
    assert total.pq_average(CATEGORIES, None) == counted().pq_average(CATEGORIES, None)


def test_nothing_at_all():
    means, _ = panopticapi.PanopticQuality().pq_average(CATEGORIES, None)
    assert means == dict(pq=0, sq=0, rq=0, n=0)
