"""Checkpoints of small segmentors with random weights, which carry their config."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_faseg.apis.model import build_model
from mmseg_faseg.models import FASegHead

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
        enliven(model.eval(), picture(200, 300))
    about = dict(classes=NAMES[:CLASSES], palette=PALETTE[:CLASSES])
    meta = dict(cfg=cfg.pretty_text, dataset_meta=about)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@torch.no_grad()
def enliven(model, image: np.ndarray) -> None:
    """Makes random masks and classes differ between queries and pixels, so that classes occur.

    Args:
        model: A segmentor with random weights.
        image: RGB (H, W, 3) uint8, over which masks are on and off in equal parts.
    """
    head = model.decode_head
    last, conv = head.mask_embed[-1], head.pixel_decoder.mask_feature
    torch.nn.init.normal_(head.cls_embed.weight)
    inputs = torch.from_numpy(image.transpose(2, 0, 1)[::-1].copy())
    data = model.data_preprocessor(dict(inputs=[inputs], data_samples=[SegDataSample()]))
    features = model.extract_feat(data['inputs'])
    mask_features = head.pixel_decoder(features)[0]
    if isinstance(head, FASegHead):
        mask_features = conv(mask_features)
    conv.bias -= mask_features.mean((0, 2, 3))
    embeddings = []
    with last.register_forward_hook(lambda module, given, out: embeddings.append(out)):
        head(features, [SegDataSample(metainfo={})])
    last.bias -= embeddings[-1].flatten(0, -3)[-1].mean(0)
    class_logits, mask_logits = (x[-1] for x in head(features, [SegDataSample(metainfo={})]))
    head.cls_embed.bias -= class_logits.mean((0, 1))
    spreads = class_logits.std(1).mean(), mask_logits.std((2, 3)).mean()
    for linear, spread in zip((head.cls_embed, last), spreads, strict=True):
        linear.weight *= 3 / spread
        linear.bias *= 3 / spread


def picture(height: int, width: int) -> np.ndarray:
    """Smooth random colours, RGB (H, W, 3) uint8."""
    rng = np.random.default_rng(height * 10_000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
