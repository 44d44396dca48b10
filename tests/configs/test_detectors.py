"""Configs for instances and panoptic segments build, train and differ as they should."""

import ast
import math

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

from tests.helpers.configs import OF_BOTH_HEADS, OF_THE_RUN, load
from tests.helpers.optional import NO_TIMM
from tests.helpers.tools import REPOSITORY

CONFIGS = REPOSITORY / 'configs'
DETECTORS = CONFIGS / '_base_' / 'detectors'
NAMES = sorted(
    path.stem for path in CONFIGS.glob('*.py') if 'default_runtime_detection' in path.read_text()
)
BASELINES = [name for name in NAMES if name.startswith('mask2former')]


def head_of(cfg):
    return cfg.model.get('panoptic_head') or cfg.model.bbox_head


def sample(cfg, size=(64, 64)) -> DetDataSample:
    head = head_of(cfg)
    masks = torch.zeros(2, *size, dtype=torch.uint8)
    masks[0, :30, :30] = masks[1, 20:50, 40:] = 1
    meta = dict(img_shape=size, ori_shape=size, batch_input_shape=size, pad_shape=size)
    found = DetDataSample(metainfo=meta)
    found.gt_instances = InstanceData(
        labels=torch.tensor([0, head.num_things_classes - 1]),
        masks=BitmapMasks(masks.numpy(), *size),
        bboxes=torch.tensor([[0.0, 0, 30, 30], [40, 20, 64, 50]]),
    )
    if head.num_stuff_classes:
        stuff = torch.full((1, *size), head.num_things_classes)
        found.gt_sem_seg = PixelData(sem_seg=stuff)
    return found


def build(cfg):
    if cfg.model.backbone.type == 'TimmFeatures':
        pytest.importorskip('timm', reason=NO_TIMM)
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    if cfg.model.type == 'PanopticSegFormer':
        model.init_weights()  # Deformable DETR has parameters that are nothing before
    return model


@pytest.mark.full_size
@pytest.mark.parametrize('name', NAMES)
def test_trains_and_predicts(name):
    cfg = load(name)
    assert 'mmseg_faseg' in cfg.custom_imports.imports
    model = build(cfg)
    losses = model.train()(torch.randn(2, 3, 64, 64), [sample(cfg), sample(cfg)], mode='loss')
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    (result,) = model.eval()(torch.randn(1, 3, 64, 64), [sample(cfg)], mode='predict')
    assert result.pred_instances.masks.shape[1:] == (64, 64)
    assert ('pred_panoptic_seg' in result) == bool(head_of(cfg).num_stuff_classes)


@pytest.mark.parametrize('name', BASELINES)
def test_baseline_differs_in_the_head_alone(name):
    baseline, faseg = load(name), load(name.replace('mask2former', 'faseg'))
    assert {key: baseline.get(key) for key in OF_THE_RUN} == {
        key: faseg.get(key) for key in OF_THE_RUN
    }
    ours, theirs = (cfg.model.pop('panoptic_head') for cfg in (faseg, baseline))
    types = faseg.model.pop('type'), baseline.model.pop('type')
    assert types == ('FASegDetector', 'FASegDetector' if 'own-data' in name else 'Mask2Former')
    for cfg in (faseg, baseline):
        cfg.model.pop('panoptic_fusion_head')
    assert baseline.model == faseg.model
    shared = [key for key in OF_BOTH_HEADS if key not in ('num_classes', 'train_cfg')]
    shared += ['num_things_classes', 'num_stuff_classes']
    assert {key: theirs[key] for key in shared} == {key: ours[key] for key in shared}
    assert theirs.pixel_decoder.encoder == ours.pixel_decoder.encoder


def test_panoptic_segformer_shares_backbone_data_and_length_with_faseg():
    segformer, faseg = load('panoptic-segformer_toy-panoptic'), load('faseg_toy-panoptic')
    assert segformer.model.backbone == faseg.model.backbone
    own = ('optim_wrapper', 'test_cfg')
    for key in OF_THE_RUN:
        assert key in own or segformer.get(key) == faseg.get(key), key
    width = faseg.model.panoptic_head.feat_channels
    layers = segformer.model.encoder.layer_cfg, segformer.model.decoder.layer_cfg
    widths = {part.embed_dims for layer in layers for part in layer.values()}
    assert widths == {width} == {segformer.model.bbox_head.embed_dims}
    assert segformer.model.positional_encoding.num_feats == width // 2


@pytest.mark.parametrize('method', ['faseg', 'faseg-own-data', 'mask2former-own-data'])
def test_the_head_is_that_of_semantic_segmentation(method):
    """Our settings stand twice, for MMSegmentation's head and for MMDetection's."""
    found = Config.fromfile(DETECTORS / 'methods' / f'{method}.py').model
    semantic = load(f'_base_/models/methods/{method}').model.decode_head
    assert semantic.pop('type') == 'FASegHead'
    assert found.panoptic_head.pop('type') == 'FASegPanopticHead'
    assert found.panoptic_head == semantic
    assert found.train_cfg == semantic.train_cfg


# Panoptic SegFormer's differ: most leave the finest stage out, and the small one names widths.
PAIRS = sorted(path for path in DETECTORS.glob('*.py') if 'segformer' not in path.stem)


@pytest.mark.parametrize('path', PAIRS, ids=lambda path: path.stem)
def test_pair_says_nothing_of_its_own(path):
    bases, model = ast.parse(path.read_text()).body
    method, backbone = path.stem.split('_')
    assert ast.literal_eval(bases.value) == [
        f'./methods/{method}.py', f'../models/backbones/{backbone}.py'
    ]  # fmt: skip
    assert all('_base_.backbone_settings' in ast.unparse(key) for key in model.value.keywords)


@pytest.mark.parametrize(
    ('name', 'stock'),
    [
        ('coco-instance', 'mask2former_r50_8xb2-lsj-50e_coco'),
        ('coco-panoptic', 'mask2former_r50_8xb2-lsj-50e_coco-panoptic'),
    ],
)
def test_the_baseline_is_that_of_mmdetection(name, stock):
    ours = load(f'mask2former_r50_{name}')
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = Config.fromfile(Config._get_cfg_path(f'mmdet::mask2former/{stock}.py', '')[0])
        weights = [MODELS.build(_outlined(cfg).model).state_dict() for cfg in (ours, theirs)]
    assert [(key, value.shape) for key, value in weights[0].items()] == [
        (key, value.shape) for key, value in weights[1].items()
    ]
    for key in ('max_iters', 'val_interval'):
        assert ours.train_cfg[key] == theirs.train_cfg[key]
    assert ours.param_scheduler == [theirs.param_scheduler]
    assert ours.optim_wrapper.clip_grad == theirs.optim_wrapper.clip_grad
    optimizers = [dict(cfg.optim_wrapper.optimizer) for cfg in (ours, theirs)]
    assert optimizers[0].items() <= optimizers[1].items()  # which spells defaults out
    for loader in ('train_dataloader', 'val_dataloader'):
        pipelines = [_plain(cfg[loader].dataset.pipeline) for cfg in (ours, theirs)]
        assert pipelines[0] == pipelines[1]
    preparations = [_plain(cfg.model.data_preprocessor) for cfg in (ours, theirs)]
    assert preparations[0] == preparations[1]
    assert ours.train_dataloader.batch_size == theirs.train_dataloader.batch_size == 2


def _outlined(cfg):
    cfg.model.backbone.init_cfg = None
    return cfg


def _plain(node):
    """Without what says where files are, what changes nothing, and padding of maps of stuff."""
    left_out = ('backend_args', 'resize_type', 'pad_seg', 'seg_pad_value')
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items() if k not in left_out}
    return [_plain(one) for one in node] if isinstance(node, list | tuple) else node


SEGFORMER_DETR = 'deformable-detr-refine_r50_16xb2-50e_coco'


def test_panoptic_segformer_is_deformable_detr_with_more():
    """Its location decoder, augmentation and what learns slowly are MMDetection's."""
    ours = load('panoptic-segformer_r50_coco-panoptic')
    with DefaultScope.overwrite_default_scope('mmdet'):
        path = Config._get_cfg_path(f'mmdet::deformable_detr/{SEGFORMER_DETR}.py', '')[0]
        theirs = Config.fromfile(path)
        stock = MODELS.build(_outlined(theirs).model).state_dict()
        own = MODELS.build(_outlined(ours).model).state_dict()
    assert {key: value.shape for key, value in stock.items()}.items() <= {
        key: value.shape for key, value in own.items()
    }.items()
    for part in ('backbone', 'neck', 'encoder', 'decoder', 'positional_encoding'):
        assert ours.model[part] == theirs.model[part]
    pipelines = [_plain(cfg.train_dataloader.dataset.pipeline) for cfg in (ours, theirs)]
    choices = [
        next(step for step in steps if step['type'] == 'RandomChoice') for steps in pipelines
    ]
    for branch in choices[0]['transforms']:
        for step in branch:
            step.pop('recompute_bbox', None)  # masks are cropped, too
    assert choices[0] == choices[1]
    slow = [cfg.optim_wrapper.paramwise_cfg.custom_keys for cfg in (ours, theirs)]
    assert slow[0] == slow[1]
    assert ours.optim_wrapper.clip_grad == theirs.optim_wrapper.clip_grad


@pytest.mark.parametrize(
    ('name', 'epochs', 'step', 'quality'),
    [
        ('r50_coco-panoptic_12e', 12, 8, 0.25),
        ('r50_coco-panoptic', 24, 18, 0.25),
        ('r101_coco-panoptic', 24, 18, 0.25),
        ('pvtv2-b5_coco-panoptic', 24, 18, 0.3),
        ('swin-l_coco-panoptic', 24, 18, 0.3),
    ],
)
def test_panoptic_segformers_released_settings(name, epochs, step, quality):
    cfg = load(f'panoptic-segformer_{name}')
    epoch = math.ceil(118_287 / 8)  # images of COCO, one on each of 8 GPUs
    assert cfg.train_dataloader.batch_size == 1
    assert cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.train_cfg.max_iters == epochs * epoch
    assert cfg.param_scheduler[0].milestones == [step * epoch]
    assert cfg.param_scheduler[0].end == epochs * epoch
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=1.4e-4, weight_decay=1e-4)
    assert cfg.model.test_cfg.quality_thr == quality
    assert cfg.model.test_cfg.overlap_thr == dict(things=0.4, stuff=0.2)
    assert cfg.model.train_cfg.queries_per_thing == 3
