"""MMDetection's panoptic metric, with our stand-in for panopticapi, on what our configs predict."""

import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import DATASETS, METRICS
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from mmseg_faseg.errors import UserError
from tests.helpers.configs import load
from tests.helpers.tools import REPOSITORY

NUCLEI = str(REPOSITORY / 'tests' / 'data' / 'nuclei')
STUFF = 1


@pytest.fixture(scope='module')
def built():
    cfg = load('faseg_lite0_nuclei-panoptic')
    dataset, (metric, *_, semantic) = cfg.val_dataloader.dataset, cfg.val_evaluator
    dataset.data_root = NUCLEI
    metric.ann_file = f'{NUCLEI}/annotations/panoptic_val.json'
    metric.seg_prefix = f'{NUCLEI}/annotations/panoptic_val'
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(dataset), [metric, semantic]


def evaluated(built, change, reverse=False):
    """Metrics of the truth after a change to an image's ids."""
    dataset, metrics = built
    metrics = metrics[::-1] if reverse else metrics
    with DefaultScope.overwrite_default_scope('mmdet'):
        evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    evaluator.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = item['data_samples']
        ids = sample.gt_sem_seg.sem_seg.clone().int()
        for number, mask in enumerate(sample.gt_instances.masks.masks, 1):
            ids[0][torch.from_numpy(mask).bool()] = number * INSTANCE_OFFSET
        sample.pred_panoptic_seg = PixelData(sem_seg=change(ids))
        evaluator.process([sample])
    return evaluator.evaluate(len(dataset))


def test_the_truth_is_perfect(built):
    found = evaluated(built, lambda ids: ids)
    assert found['coco_panoptic/PQ_th'] == found['coco_panoptic/PQ_st'] == 100
    assert found['mIoU'] == found['boundary/mIoU'] == found['small/mIoU'] == 100


def test_one_nucleus_missed(built):
    """26 nuclei in two images; where the missed ones are, the stuff is said to be, slightly."""

    def without_the_first(ids):
        return torch.where(ids == INSTANCE_OFFSET, STUFF, ids)

    found = evaluated(built, without_the_first)
    assert found['coco_panoptic/PQ_th'] == pytest.approx(100 * 24 / (24 + 2 / 2))
    assert 95 < found['coco_panoptic/PQ_st'] < 100


@pytest.mark.parametrize('reverse', [False, True])
def test_nothing_found(built, reverse):
    """Whichever metric is first: MMDetection's writes into the predictions."""
    nobody = 2
    found = evaluated(built, lambda ids: torch.full_like(ids, nobody), reverse)
    assert found['coco_panoptic/PQ'] == 0
    assert found['mIoU'] == found['boundary/mIoU'] == 0


def test_classes_of_segments(built):
    """Which of its objects a pixel belongs to changes nothing; which class, what IoU says."""
    dataset, _ = built

    def one_object_and_half_the_stuff_unknown(ids):
        ids = torch.where(ids % INSTANCE_OFFSET == 0, 7 * INSTANCE_OFFSET, ids)
        rows = torch.arange(ids.shape[1])[None, :, None] % 2
        return torch.where((ids == STUFF) & (rows == 0), STUFF + 1, ids)

    found = evaluated(built, one_object_and_half_the_stuff_unknown)
    kept = total = 0
    for item in dataset:
        stuff = item['data_samples'].gt_sem_seg.sem_seg[0] == STUFF
        kept, total = kept + int(stuff[1::2].sum()), total + int(stuff.sum())
    assert found['mIoU'] == pytest.approx((100 + 100 * kept / total) / 2, abs=0.01)
    assert found['coco_panoptic/PQ_th'] < 50


def test_samples_without_a_label_map(built):
    dataset, (_, semantic) = built
    metric = METRICS.build(semantic)
    metric.dataset_meta = dataset.metainfo
    with pytest.raises(UserError, match='comes without a label map.*LoadPanopticAnnotations'):
        metric.process({}, [dict(img_path='a.png', pred_panoptic_seg={})])
