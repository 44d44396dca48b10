"""A FASeg head small enough for float64, and what it is fed."""

import math
from functools import reduce
from operator import getitem

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

import mmseg_faseg
from tests.helpers.configs import load

DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
        ],
    ),
]
CHANNELS = [8, 12, 16, 20]
WIDTH, HEADS, QUERIES, CLASSES = 32, 4, 7, 5
CONFIGS = f'{mmseg_faseg.__path__[0]}/.mim/configs'


def head_config(base: str = 'faseg', **changes) -> ConfigDict:
    """Config of the head in ``_base_/models/methods``, shrunk; ``changes`` by dotted keys."""
    config = load(f'_base_/models/methods/{base}').model.decode_head
    config.update(
        in_channels=CHANNELS,
        num_classes=CLASSES,
        feat_channels=WIDTH,
        out_channels=WIDTH,
        num_queries=QUERIES,
    )
    config.pixel_decoder.norm_cfg = dict(type='GN', num_groups=8)
    config.pixel_decoder.encoder.num_layers = 2
    layer_cfgs = [config.pixel_decoder.encoder.layer_cfg, config.transformer_decoder.layer_cfg]
    for layer_cfg in layer_cfgs:
        for name, part in layer_cfg.items():
            part.embed_dims = WIDTH
            if name == 'ffn_cfg':
                part.feedforward_channels = 48
            else:
                part.num_heads = HEADS
    if base == 'mask2former':
        config.loss_cls.class_weight = [1.0] * CLASSES + [0.1]
        config.positional_encoding = dict(num_feats=WIDTH // 2, normalize=True)
        config.pixel_decoder.positional_encoding = config.positional_encoding
    for key, value in changes.items():
        *path, name = key.split('.')
        reduce(getitem, path, config)[name] = value
    return config


def build_head(config: ConfigDict | None = None, dtype: torch.dtype = torch.float64):
    """A head with random weights everywhere, large enough that masks are neither full nor empty."""
    torch.manual_seed(0)
    head = MODELS.build(head_config() if config is None else config)
    head.init_weights()
    for name, param in head.named_parameters():
        if 'sampling_offsets' in name or 'attention_weights' in name:
            torch.nn.init.normal_(param)
    torch.nn.init.normal_(head.mask_embed[-1].weight, std=0.5)
    return head.to(dtype).eval()


def feature_maps(
    height: int, width: int, batch: int = 2, dtype: torch.dtype = torch.float64, channels=CHANNELS
) -> list[Tensor]:
    """Backbone maps of an image of this size, rounded up as ResNet and Swin do."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return [
        torch.randn(
            batch, c, math.ceil(height / s), math.ceil(width / s), generator=generator, dtype=dtype
        )
        for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def samples(labels: Tensor) -> list[SegDataSample]:
    """Data samples with these label maps (B, H, W)."""
    from mmengine.structures import PixelData

    result = []
    for label in labels:
        sample = SegDataSample(
            gt_sem_seg=PixelData(data=label[None]),
            metainfo=dict(img_shape=tuple(label.shape), img_path='scene.png'),
        )
        result.append(sample)
    return result
