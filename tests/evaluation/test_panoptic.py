"""MMDetection's panoptic metric, with our stand-in for panopticapi, on what our configs predict."""

import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import DATASETS, METRICS
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from tests.helpers.configs import load
from tests.helpers.tools import REPOSITORY

NUCLEI = str(REPOSITORY / 'tests' / 'data' / 'nuclei')
STUFF = 1


@pytest.fixture(scope='module')
def built():
    cfg = load('faseg_lite0_nuclei-panoptic')
    dataset, metric = cfg.val_dataloader.dataset, cfg.val_evaluator[0]
    dataset.data_root = NUCLEI
    metric.ann_file = f'{NUCLEI}/annotations/panoptic_val.json'
    metric.seg_prefix = f'{NUCLEI}/annotations/panoptic_val'
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(dataset), lambda: METRICS.build(metric)


def evaluated(built, change):
    """Metrics of the truth after a change to an image's ids."""
    dataset, build_metric = built
    with DefaultScope.overwrite_default_scope('mmdet'):
        metric = build_metric()
    metric.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = item['data_samples']
        ids = sample.gt_sem_seg.sem_seg.clone().int()
        for number, mask in enumerate(sample.gt_instances.masks.masks, 1):
            ids[0][torch.from_numpy(mask).bool()] = number * INSTANCE_OFFSET
        sample.pred_panoptic_seg = PixelData(sem_seg=change(ids))
        metric.process({}, [sample.to_dict()])
    return metric.evaluate(len(dataset))


def test_the_truth_is_perfect(built):
    found = evaluated(built, lambda ids: ids)
    assert found['coco_panoptic/PQ_th'] == found['coco_panoptic/PQ_st'] == 100


def test_one_nucleus_missed(built):
    """26 nuclei in two images; where the missed ones are, the stuff is said to be, slightly."""

    def without_the_first(ids):
        return torch.where(ids == INSTANCE_OFFSET, STUFF, ids)

    found = evaluated(built, without_the_first)
    assert found['coco_panoptic/PQ_th'] == pytest.approx(100 * 24 / (24 + 2 / 2))
    assert 95 < found['coco_panoptic/PQ_st'] < 100


def test_nothing_found(built):
    nobody = 2
    found = evaluated(built, lambda ids: torch.full_like(ids, nobody))
    assert found['coco_panoptic/PQ'] == 0
