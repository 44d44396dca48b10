"""Tells from the keys of a released checkpoint which model it holds."""

import math
import re
from typing import NamedTuple

from torch import Tensor

from ...errors import UserError

# depth of stage 4 (detectron2's `res4`)
RESNETS = {6: 'ResNet-50', 23: 'ResNet-101'}
# width, depth of the third stage, window
SWINS = {
    (96, 6, 7): 'Swin-T',
    (96, 18, 7): 'Swin-S',
    (128, 18, 12): 'Swin-B',
    (192, 18, 12): 'Swin-L',
    (192, 18, 7): 'Swin-L (window 7)',
}
# depth of stage 3
PVTS = {40: 'PVTv2-B5'}

_ADE20K, _CITYSCAPES, _COCO, _COCO_THINGS = 150, 19, 133, 80
CONFIGS: dict[tuple[str, str, int | None], str] = {
    ('FASeg', 'ResNet-50', _ADE20K): 'mmseg_faseg::faseg_r50_ade20k.py',
    ('FASeg', 'Swin-T', _ADE20K): 'mmseg_faseg::faseg_swin-t_ade20k.py',
    ('FASeg', 'Swin-B', _ADE20K): 'mmseg_faseg::faseg_swin-b_ade20k.py',
    ('FASeg', 'Swin-L', _ADE20K): 'mmseg_faseg::faseg_swin-l_ade20k.py',
    ('FASeg', 'ResNet-50', _CITYSCAPES): 'mmseg_faseg::faseg_r50_cityscapes.py',
    **{
        ('Mask2Former', backbone, classes): f'mmseg::mask2former/mask2former_{name}_{data}.py'
        for classes, data, backbones in (
            (
                _ADE20K,
                '8xb2-160k_ade20k-512x512',
                {'ResNet-50': 'r50', 'ResNet-101': 'r101', 'Swin-T': 'swin-t', 'Swin-S': 'swin-s'},
            ),
            (
                _ADE20K,
                '8xb2-160k_ade20k-640x640',
                {
                    'Swin-B': 'swin-b-in22k-384x384-pre',
                    'Swin-L': 'swin-l-in22k-384x384-pre',
                },
            ),
            (
                _CITYSCAPES,
                '8xb2-90k_cityscapes-512x1024',
                {
                    'ResNet-50': 'r50',
                    'ResNet-101': 'r101',
                    'Swin-T': 'swin-t',
                    'Swin-S': 'swin-s',
                    'Swin-B': 'swin-b-in22k-384x384-pre',
                    'Swin-L': 'swin-l-in22k-384x384-pre',
                },
            ),
        )
        for backbone, name in backbones.items()
    },
    **{
        ('Mask2Former', backbone, classes): f'mmdet::mask2former/mask2former_{name}-{data}.py'
        for classes, data, backbones in (
            (
                _COCO,
                'lsj-50e_coco-panoptic',
                {
                    'ResNet-50': 'r50_8xb2',
                    'ResNet-101': 'r101_8xb2',
                    'Swin-T': 'swin-t-p4-w7-224_8xb2',
                    'Swin-S': 'swin-s-p4-w7-224_8xb2',
                    'Swin-B': 'swin-b-p4-w12-384-in21k_8xb2',
                },
            ),
            (_COCO, 'lsj-100e_coco-panoptic', {'Swin-L': 'swin-l-p4-w12-384-in21k_16xb1'}),
            (
                _COCO_THINGS,
                'lsj-50e_coco',
                {
                    'ResNet-50': 'r50_8xb2',
                    'ResNet-101': 'r101_8xb2',
                    'Swin-T': 'swin-t-p4-w7-224_8xb2',
                    'Swin-S': 'swin-s-p4-w7-224_8xb2',
                },
            ),
        )
        for backbone, name in backbones.items()
    },
    **{
        ('Panoptic SegFormer', backbone, _COCO): f'mmseg_faseg::panoptic-segformer_{name}'
        '_coco-panoptic.py'
        for backbone, name in {
            'ResNet-50': 'r50',
            'ResNet-101': 'r101',
            'PVTv2-B5': 'pvtv2-b5',
            'Swin-L (window 7)': 'swin-l',
        }.items()
    },
    # only their backbone is used
    ('ImageNet', 'Swin-T', None): 'mmseg_faseg::faseg_swin-t_ade20k.py',
    ('ImageNet', 'Swin-B', None): 'mmseg_faseg::faseg_swin-b_ade20k.py',
    ('ImageNet', 'Swin-L', None): 'mmseg_faseg::faseg_swin-l_ade20k.py',
}


class Model(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        method: 'FASeg', 'Mask2Former', 'Panoptic SegFormer', or 'ImageNet' for a backbone alone.
        family: 'ResNet', 'Swin' or 'PVTv2'.
        backbone: Such as 'Swin-T'; with its sizes in brackets if it is none of the published.
        num_classes: Number of classes; None for a backbone alone.
    """

    method: str
    family: str
    backbone: str
    num_classes: int | None

    def __str__(self) -> str:
        classes = '' if self.num_classes is None else f', {self.num_classes} classes'
        return f'{self.method}, {self.backbone}{classes}'

    @property
    def config(self) -> str:
        """Name of the config that this model was published with.

        Raises:
            UserError: There is none.
        """
        if self[:1] + self[2:] not in CONFIGS:
            raise UserError(f'no config is known for {self}: give one with --config')
        return CONFIGS[self[:1] + self[2:]]


def recognise(weights: dict[str, Tensor]) -> Model:
    """Recognises a model from the names and shapes of its weights.

    Args:
        weights: As released; those of a backbone alone with ``backbone.`` in front.

    Raises:
        UserError: It is none that can be converted; the message names what was looked for.
    """
    if any(key.startswith('sem_seg_head.predictor.adapt_pos2d.') for key in weights):
        method = 'FASeg'
    elif any(key.startswith('sem_seg_head.predictor.') for key in weights):
        method = 'Mask2Former'
    elif any(key.startswith('bbox_head.things_mask_head.') for key in weights):
        method = 'Panoptic SegFormer'
    elif 'backbone.patch_embed.proj.weight' in weights:
        method = 'ImageNet'
    else:
        raise UserError(
            'neither FASeg nor Mask2Former (no sem_seg_head.predictor.*) nor Panoptic SegFormer '
            '(no bbox_head.things_mask_head.*) nor an ImageNet Swin (no patch_embed.proj.weight); '
            f'the first keys are {", ".join(list(weights)[:3])}'
        )
    num_classes = None
    if method == 'Panoptic SegFormer':
        things = _get(weights, 'bbox_head.cls_branches.0.bias')
        num_classes = len(things) + len(_get(weights, 'bbox_head.stuff_query.weight'))
    elif method != 'ImageNet':
        num_classes = len(_get(weights, 'sem_seg_head.predictor.class_embed.bias')) - 1
    return Model(method, *_backbone(method, weights), num_classes)


def _backbone(method: str, weights: dict[str, Tensor]) -> tuple[str, str]:
    """Family and name."""
    if 'backbone.patch_embed.proj.weight' in weights:
        return 'Swin', _swin(weights)
    if 'backbone.patch_embed1.proj.weight' in weights:
        depth = _count(weights, r'backbone\.block3\.(\d+)\.')
        return 'PVTv2', PVTS.get(depth, f'PVTv2 ({depth} blocks in the third stage)')
    stages = {'backbone.stem.conv1.weight': 'res4', 'backbone.conv1.weight': 'layer3'}
    for first, stage in stages.items():  # as detectron2 names them, and as OpenMMLab does
        if first in weights:
            depth = _count(weights, rf'backbone\.{stage}\.(\d+)\.')
            return 'ResNet', RESNETS.get(depth, f'ResNet ({depth} in {stage})')
    raise UserError(
        f'a {method} model on an unknown backbone: neither ResNet (backbone.stem.conv1.weight or '
        'backbone.conv1.weight) nor Swin (backbone.patch_embed.proj.weight) nor PVTv2 '
        '(backbone.patch_embed1.proj.weight)'
    )


def _swin(weights: dict[str, Tensor]) -> str:
    width = len(_get(weights, 'backbone.patch_embed.proj.weight'))
    depth = _count(weights, r'backbone\.layers\.2\.blocks\.(\d+)\.')
    table = _get(weights, 'backbone.layers.0.blocks.0.attn.relative_position_bias_table')
    window = (math.isqrt(len(table)) + 1) // 2
    unknown = f'Swin (width {width}, {depth} blocks in the third stage, window {window})'
    return SWINS.get((width, depth, window), unknown)


def _count(weights: dict[str, Tensor], pattern: str) -> int:
    return len({match[1] for match in map(re.compile(pattern).match, weights) if match})


def _get(weights: dict[str, Tensor], key: str) -> Tensor:
    if key not in weights or weights[key].dim() == 0:
        raise UserError(f'{key} is missing' if key not in weights else f'{key} is a single number')
    return weights[key]
