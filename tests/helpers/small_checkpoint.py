"""Checkpoints of small segmentors with random weights, which carry their config."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_faseg.apis.model import build_model

from .small_head import CLASSES, head_config
from .small_segmentor import BACKBONE

NAMES = ('sky', 'road', 'tree', 'car', 'Fußgänger')
PALETTE = [[0, 120, 255], [90, 90, 90], [0, 140, 0], [230, 20, 20], [250, 250, 0]]
# What makes our head MMSegmentation's Mask2Former.
MASK2FORMER = {
    'num_transformer_feat_level': 3,
    'mask_threshold': 0.5,
    'high_res_attn': None,
    'positional_query': dict(type='LearnedPositionalQuery'),
    'positional_encoding': dict(type='mmdet.SinePositionalEncoding', num_feats=16, normalize=True),
}


def save_checkpoint(
    path: Path,
    base: str = 'faseg',
    data_root: str = 'nosuch',
    resize: tuple[dict, ...] = (),
    test_cfg: dict | None = None,
    decode_head: dict | None = None,
    **changes,
) -> Path:
    """Writes a checkpoint.

    Args:
        path: Where to.
        base: As of ``head_config``, with one layer in the encoder and one for each level in the
            decoder.
        data_root: Of the test images, which lie in its folder 'images'.
        resize: Steps of the test pipeline after the reading of images.
        test_cfg: Of the segmentor.
        decode_head: In place of that of ``base``.
        **changes: As of ``head_config``.
    """
    layers = {'pixel_decoder.encoder.num_layers': 1, 'transformer_decoder.num_layers': 5}
    head = decode_head or head_config(base, in_channels=[4, 8, 16, 32], **layers | changes)
    own = base == 'faseg' and decode_head is None
    pipeline = [dict(type='LoadImageFromFile'), *resize, dict(type='PackSegInputs')]
    cfg = Config(
        dict(
            default_scope='mmseg',
            model=dict(
                type='FASegSegmentor' if own else 'EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    mean=[120.0, 110.0, 100.0],
                    std=[60.0, 55.0, 50.0],
                    bgr_to_rgb=True,
                    test_cfg=dict(size_divisor=32),
                ),
                backbone=BACKBONE,
                decode_head=head,
                test_cfg=test_cfg or dict(mode='whole'),
            ),
            test_dataloader=dict(
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='FolderDataset',
                    data_root=data_root,
                    data_prefix=dict(img_path='images'),
                    pipeline=pipeline,
                ),
            ),
        )
    )
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    if decode_head is None:
        torch.nn.init.normal_(model.decode_head.mask_embed[-1].weight, std=0.5)
        torch.nn.init.normal_(model.decode_head.cls_embed.weight)
    about = dict(classes=NAMES[:CLASSES], palette=PALETTE[:CLASSES])
    meta = dict(cfg=cfg.pretty_text, dataset_meta=about)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def picture(height: int, width: int) -> np.ndarray:
    """Smooth random colours, RGB (H, W, 3) uint8."""
    rng = np.random.default_rng(height * 10_000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
