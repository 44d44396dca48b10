"""A segmentor small enough for float64, and samples for it."""

import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from .small_head import head_config

MODES = {
    'whole': dict(mode='whole'),
    'slide': dict(mode='slide', crop_size=(48, 48), stride=(32, 32)),
}
BACKBONE = dict(
    type='ResNet',
    depth=18,
    base_channels=4,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    norm_cfg=dict(type='BN'),
    style='pytorch',
)


def build_segmentor(
    test_cfg=None, base='faseg', kind='FASegSegmentor', test_padding=None, **changes
):
    torch.manual_seed(0)
    head = head_config(base, **changes)
    head.in_channels = [4, 8, 16, 32]
    config = dict(
        type=kind,
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor', test_cfg=test_padding),
        backbone=BACKBONE,
        decode_head=head,
        train_cfg=dict(),
        test_cfg=ConfigDict(test_cfg or dict(mode='whole')),
    )
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    torch.nn.init.normal_(model.decode_head.mask_embed[-1].weight)
    torch.nn.init.normal_(model.decode_head.cls_embed.weight)
    return model.eval()


def sample(size, ori_shape, padding=(0, 0, 0, 0), flip=None):
    height, width = size
    _, right, _, bottom = padding
    return SegDataSample(
        metainfo=dict(
            img_path='scene.png',
            ori_shape=ori_shape,
            img_shape=(height - bottom, width - right),
            pad_shape=size,
            img_padding_size=padding,
            flip=flip is not None,
            flip_direction=flip,
        )
    )
