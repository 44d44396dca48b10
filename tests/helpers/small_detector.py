"""Detectors of MMDetection's and ours small enough for float64, and samples for them."""

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

from .small_head import WIDTH, head_config
from .small_segmentor import BACKBONE

THINGS, STUFF = 3, 2
SIZE = (64, 96)
MASK2FORMER = dict(
    num_transformer_feat_level=3,
    mask_threshold=0.5,
    high_res_attn=None,
    positional_query=dict(type='LearnedPositionalQuery'),
    positional_encoding=dict(
        type='mmdet.SinePositionalEncoding', num_feats=WIDTH // 2, normalize=True
    ),
    **{'transformer_decoder.num_layers': 9},
)


def build_detector(head: ConfigDict, stuff=STUFF, kind='Mask2Former', mask2former=None, **test_cfg):
    """A detector of MMDetection's or ours around a head."""
    head.update(num_things_classes=THINGS, num_stuff_classes=stuff)
    train_cfg = head.pop('train_cfg')
    tasks = dict(panoptic_on=stuff > 0, semantic_on=False, instance_on=True)
    config = ConfigDict(
        type=kind,
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, pad_mask=True),
        backbone=dict(BACKBONE, stem_channels=64),  # MMSegmentation's default
        panoptic_head=head,
        panoptic_fusion_head=dict(
            type='MaskFormerFusionHead', num_things_classes=THINGS, num_stuff_classes=stuff
        ),
        train_cfg=train_cfg,
        test_cfg=dict(**tasks, max_per_image=20) | test_cfg,
    )
    if kind == 'FASegDetector':
        del config['panoptic_fusion_head']
        config.mask2former = mask2former
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET_MODELS.build(config)


def our_head(**changes) -> ConfigDict:
    head = head_config(**changes)
    head.type = 'FASegPanopticHead'
    head.in_channels = [4, 8, 16, 32]
    del head['num_classes']
    return head


def stock_head(stuff=STUFF) -> ConfigDict:
    head = head_config('mask2former')
    head.type = 'mmdet.Mask2FormerHead'
    head.in_channels = [4, 8, 16, 32]
    head.strides = [4, 8, 16, 32]
    head.loss_cls.class_weight = [1.0] * (THINGS + stuff) + [0.1]
    del head['num_classes']
    return head


def images(batch=2, stuff=STUFF) -> list[DetDataSample]:
    """Samples with random instances and, for panoptic training, a label map."""
    generator = torch.Generator().manual_seed(7)
    samples = []
    for count in (3, 1)[:batch]:
        masks = torch.rand(count, 8, 12, generator=generator) < 0.3
        masks = masks.repeat_interleave(8, 1).repeat_interleave(8, 2).numpy().astype('uint8')
        labels = torch.randint(0, THINGS, (count,), generator=generator)
        size = dict(img_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE, pad_shape=SIZE)
        sample = DetDataSample(metainfo=size)
        sample.gt_instances = InstanceData(
            labels=labels, masks=BitmapMasks(masks, *SIZE), bboxes=torch.zeros(count, 4)
        )
        label_map = torch.randint(0, THINGS + stuff, (1, 8, 12), generator=generator)
        label_map = label_map.repeat_interleave(8, 1).repeat_interleave(8, 2)
        label_map[:, :8] = 255
        sample.gt_sem_seg = PixelData(sem_seg=label_map)
        samples.append(sample)
    return samples
