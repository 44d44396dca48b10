"""Checkpoints of models with random weights, whose predictions are full of classes."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_faseg.apis.model import build_model
from tests.helpers.configs import load

CLASSES = ('sky', 'road', 'tree', 'car')
PALETTE = [[0, 120, 255], [90, 90, 90], [0, 140, 0], [230, 20, 20]]


def small_config(base: str = 'faseg_toy', pipeline: tuple[dict, ...] = (), **test_cfg) -> Config:
    """A toy model's config for four classes; ``pipeline`` stands after the reading of images."""
    cfg = load(base)
    head = cfg.model.decode_head
    head.num_classes = len(CLASSES)
    head.num_queries = 12
    if head.type == 'Mask2FormerHead':
        head.loss_cls.class_weight = [1.0] * len(CLASSES) + [0.1]
    head.transformer_decoder.num_layers = 4 if base == 'faseg_toy' else 3
    cfg.model.test_cfg = test_cfg or dict(mode='whole')
    steps = [dict(type='LoadImageFromFile'), *pipeline]
    cfg.test_pipeline = [*steps, dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    cfg.test_dataloader.dataset.pipeline = cfg.test_pipeline
    return cfg


def save_checkpoint(path: Path, cfg: Config, dataset_meta: dict | None = None) -> Path:
    """Writes a model's random weights as MMEngine does, with its config."""
    torch.manual_seed(1)
    model = build_model(cfg)
    head = model.decode_head
    torch.nn.init.normal_(head.mask_embed[-1].weight, std=0.1)
    for weight in (
        head.cls_embed.weight,
        head.pixel_decoder.mask_feature.weight,
        *(m.bias for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)),
    ):
        torch.nn.init.normal_(weight)  # or one class has all pixels
    if dataset_meta is None:
        dataset_meta = dict(classes=CLASSES, palette=PALETTE)
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dataset_meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random smooth colours, RGB (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
