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
}

_ADE20K, _CITYSCAPES = 150, 19
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
    # only their backbone is used
    ('ImageNet', 'Swin-T', None): 'mmseg_faseg::faseg_swin-t_ade20k.py',
    ('ImageNet', 'Swin-B', None): 'mmseg_faseg::faseg_swin-b_ade20k.py',
    ('ImageNet', 'Swin-L', None): 'mmseg_faseg::faseg_swin-l_ade20k.py',
}


class Model(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        method: 'FASeg', 'Mask2Former', or 'ImageNet' for a backbone alone.
        family: 'ResNet' or 'Swin'.
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
    elif 'backbone.patch_embed.proj.weight' in weights:
        method = 'ImageNet'
    else:
        raise UserError(
            'neither FASeg nor Mask2Former (no sem_seg_head.predictor.*) nor an ImageNet Swin '
            f'(no patch_embed.proj.weight); the first keys are {", ".join(list(weights)[:3])}'
        )
    num_classes = None
    if method != 'ImageNet':
        num_classes = len(_get(weights, 'sem_seg_head.predictor.class_embed.bias')) - 1
    if 'backbone.patch_embed.proj.weight' in weights:
        return Model(method, 'Swin', _swin(weights), num_classes)
    if 'backbone.stem.conv1.weight' in weights:
        depth = _count(weights, r'backbone\.res4\.(\d+)\.')
        return Model(method, 'ResNet', RESNETS.get(depth, f'ResNet ({depth} in res4)'), num_classes)
    raise UserError(
        f'a {method} model on an unknown backbone: neither ResNet (backbone.stem.conv1.weight) nor '
        'Swin (backbone.patch_embed.proj.weight)'
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
