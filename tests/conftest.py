"""A tiny model, tiny images and a way to call the tools, shared by the tests of the whole path."""

import os
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

# One thread for each process of pytest-xdist, and read when PyTorch is imported.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Each run starts without memories of earlier ones.
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='mmseg_faseg_cache_')

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

import mmseg_faseg  # noqa: F401  before any of OpenMMLab's packages, as in a config
from tests.helpers.parity import converted  # noqa: F401  a fixture
from tests.helpers.tools import REPOSITORY, call_tool


@pytest.fixture(autouse=True)
def scope_restored():
    """Leaves to the next test the default scope that it would have alone."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


_CONFIG = """
_base_ = [
    'mmseg::_base_/default_runtime.py',
    '{repository}/configs/_base_/models/methods/faseg.py',
]
custom_imports = dict(imports={imports}, allow_failed_imports=False)
width = 32
attention = dict(embed_dims=width, num_heads=2)
ffn = dict(embed_dims=width, feedforward_channels=width)
encoder_layer = dict(
    self_attn_cfg=dict(embed_dims=width, num_heads=2, num_points=2), ffn_cfg=ffn
)
decoder_layer = dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn)
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=4,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=None,
    ),
    decode_head=dict(
        in_channels=[4, 8, 16, 32],
        feat_channels=width,
        out_channels=width,
        num_classes=3,
        num_queries=5,
        pixel_decoder=dict(encoder=dict(num_layers=1, layer_cfg=encoder_layer)),
        transformer_decoder=dict(num_layers=4, layer_cfg=decoder_layer),
        train_cfg=dict(num_points=64),
    ),
)
data_root = '{data_root}'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    metainfo=dict(classes=('dark', 'grey', 'bright'), palette=[[0] * 3, [90] * 3, [255] * 3]),
    data_root=data_root,
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    img_suffix='.png',
    reduce_zero_label=False,
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=4, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2, save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
randomness = dict(seed=0)
{more}
"""


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with five images, an odd number, of 64 x 64: each label has its brightness."""
    root = tmp_path_factory.mktemp('tiny_data')
    (root / 'images').mkdir()
    (root / 'labels').mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        label = np.kron(rng.integers(0, 3, (4, 4)), np.ones((16, 16))).astype(np.uint8)
        image = 100 * label[..., None] + rng.integers(0, 40, (64, 64, 3)).astype(np.uint8)
        cv2.imwrite(str(root / 'images' / f'{index}.png'), image)
        cv2.imwrite(str(root / 'labels' / f'{index}.png'), label)
    return root


@pytest.fixture(scope='session')
def write_config(tiny_data: Path):
    """Writes the tiny model's config, with more settings at its end, to a path."""

    def write(path: Path, more: str = '', imports: tuple[str, ...] = ('mmseg_faseg',)) -> Path:
        text = _CONFIG.format(
            repository=REPOSITORY, data_root=tiny_data, more=more, imports=list(imports)
        )
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory, write_config) -> SimpleNamespace:
    """The tiny model after two of four iterations: its config, work dir and checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder / 'tiny.py')
    # MMEngine keeps one visualizer of a name per process: a name of its own.
    options = ['--cfg-options', 'train_cfg.max_iters=2', 'visualizer.name=trained']
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        call_tool('train.py', config, *options, monkeypatch=patch, cwd=folder)
    work_dir = folder / 'work_dirs' / 'tiny'
    return SimpleNamespace(
        config=config, work_dir=work_dir, checkpoint=work_dir / 'iter_2.pth', log=out.getvalue()
    )
