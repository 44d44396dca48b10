"""Targets are those that OpenMMLab's heads make of the same samples."""

import torch
from mmdet.models import Mask2FormerHead
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.model import BaseModule
from mmengine.structures import InstanceData, PixelData
from mmseg.models.decode_heads import Mask2FormerHead as SemanticHead

from mmseg_faseg.models.losses import from_instances, from_label_maps, from_panoptic
from tests.helpers.small_head import samples

THINGS, STUFF, SIZE = 3, 4, (6, 8)


def assert_same(targets, instances):
    assert targets.counts == [len(x.labels) for x in instances]
    for (labels, masks), expected in zip(targets.by_image(), instances, strict=True):
        assert labels.tolist() == expected.labels.tolist()
        assert torch.equal(masks.long(), expected.masks.long())


def test_label_maps():
    torch.manual_seed(0)
    labels = torch.randint(0, 5, (3, *SIZE))
    labels[0, 0], labels[2] = 255, 255  # the last image shows nothing
    stock = BaseModule.__new__(SemanticHead)
    BaseModule.__init__(stock)
    stock.ignore_index = 255
    instances, metas = stock._seg_data_to_instance_data(samples(labels))
    targets = from_label_maps(samples(labels), 255)
    assert targets.img_metas == metas
    assert targets.counts[2] == 0
    assert_same(targets, instances)


def detection_samples():
    torch.manual_seed(1)
    result = []
    for count in (2, 0, 3):
        sample = DetDataSample(metainfo=dict(img_path=f'{count}.jpg'))
        masks = torch.randint(0, 2, (count, *SIZE)).numpy().astype('uint8')
        sample.gt_instances = InstanceData(
            labels=torch.randint(0, THINGS, (count,)), masks=BitmapMasks(masks, *SIZE)
        )
        label_map = torch.randint(0, THINGS + STUFF, (1, *SIZE))
        label_map[:, 0] = 255
        sample.gt_sem_seg = PixelData(sem_seg=label_map)
        result.append(sample)
    return result


def stock_targets(batch, label_maps, stuff):
    head = BaseModule.__new__(Mask2FormerHead)
    BaseModule.__init__(head)
    head.num_things_classes, head.num_stuff_classes = THINGS, stuff
    return head.preprocess_gt([sample.gt_instances for sample in batch], label_maps)


def test_instances():
    batch = detection_samples()
    targets = from_instances(batch)
    assert targets.counts == [2, 0, 3]
    assert targets.name_of(2) == '3.jpg'
    assert_same(targets, stock_targets(batch, [None] * 3, 0))


def test_panoptic():
    batch = detection_samples()
    label_maps = [sample.gt_sem_seg for sample in batch]
    targets = from_panoptic(batch, THINGS, STUFF)
    assert targets.labels.max() < THINGS + STUFF
    assert targets.counts == [2 + STUFF, STUFF, 3 + STUFF]
    assert_same(targets, stock_targets(batch, label_maps, STUFF))
