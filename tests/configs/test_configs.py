"""Every config builds and runs; the released models are what METHOD and paper say they are."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS, PARAM_SCHEDULERS
from mmseg.structures import SegDataSample
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm

from tests.helpers.configs import load
from tests.helpers.full_size import build_segmentor, outline
from tests.helpers.optional import NO_TIMM

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(  # those of detectors: test_detectors.py
    path.stem for path in ROOT.glob('*.py') if 'default_runtime_detection' not in path.read_text()
)
ADE20K_512 = ['faseg_r50_ade20k', 'faseg_swin-t_ade20k', 'faseg_convnext-t_ade20k']
ADE20K_640 = ['faseg_swin-b_ade20k', 'faseg_swin-l_ade20k']
CITYSCAPES = 'faseg_r50_cityscapes'
# By timm, with what makes them small.
_VIT = dict(depth=4, embed_dim=48, num_heads=2, out_indices=(0, 1, 2, 3))
TIMM = {
    'faseg_dinov2-b_ade20k': _VIT,
    'faseg_dinov3-b_ade20k': _VIT,
    'faseg_dinov3-l_ade20k': _VIT,
    'faseg_convnextv2-b_ade20k': dict(depths=(1, 1, 1, 1), dims=(16, 32, 64, 128)),
    'faseg_swinv2-b_ade20k': dict(depths=(1, 1, 1, 1), embed_dim=16, num_heads=(1, 2, 4, 8)),
    'faseg_lite0_camvid': {},
}
TIMM_ADE20K = [name for name in TIMM if 'ade20k' in name]
LONG_RUNS = [*ADE20K_512, *ADE20K_640, CITYSCAPES, *TIMM_ADE20K]
MILLION_PARAMETERS = {
    'faseg_r50_ade20k': 50.5,
    'faseg_swin-t_ade20k': 53.9,
    'faseg_swin-b_ade20k': 113.4,
    'faseg_swin-l_ade20k': 222.0,
    'faseg_r50_cityscapes': 50.5,
    'faseg_dinov2-b_ade20k': 120.5,
    'faseg_dinov3-b_ade20k': 119.7,
    'faseg_dinov3-l_ade20k': 343.0,
    'faseg_convnextv2-b_ade20k': 114.2,
    'faseg_swinv2-b_ade20k': 113.4,
    'faseg_lite0_camvid': 9.0,
}


def batch(height, width, **labels):
    sample = SegDataSample(
        metainfo=dict(ori_shape=(height, width), img_shape=(height, width)), **labels
    )
    inputs = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return dict(inputs=[inputs], data_samples=[sample])


@pytest.mark.full_size
@pytest.mark.parametrize('name', CONFIGS)
def test_builds_and_predicts(name):
    cfg = load(name)
    assert 'mmseg_faseg' in cfg.custom_imports.imports
    model = build_segmentor(cfg).eval()
    count = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    if name in MILLION_PARAMETERS:
        assert count == pytest.approx(MILLION_PARAMETERS[name], rel=5e-3)
    with torch.no_grad():
        (result,) = model.test_step(batch(64, 48))
    classes = result.pred_sem_seg.data
    assert classes.shape == (1, 64, 48)
    assert classes.dtype == torch.int64
    assert 0 <= classes.min() <= classes.max() < cfg.model.decode_head.num_classes


@pytest.mark.full_size
@pytest.mark.parametrize('name', ['faseg_swin-t_ade20k', CITYSCAPES])
def test_takes_a_training_step(name):
    cfg = load(name)
    cfg.model.backbone.update({'depths': [1, 1, 1, 1]} if 'swin' in name else {})
    assert training_step(cfg) == []


@pytest.mark.parametrize('name', TIMM)
def test_takes_a_training_step_with_a_backbone_of_timm(name):
    cfg = load(name)
    cfg.model.backbone.update(TIMM[name])
    if 'neck' in cfg.model:
        cfg.model.neck.embed_dim = 48
        cfg.model.decode_head.in_channels = [48] * 4
    elif 'ade20k' in name:
        cfg.model.decode_head.in_channels = [16, 32, 64, 128]
    assert training_step(cfg) == []


def training_step(cfg):
    """Names of the parameters that get no gradient."""
    model = build_segmentor(cfg)
    data = batch(64, 64, gt_sem_seg=PixelData(data=torch.randint(0, 11, (1, 64, 64))))
    data = dict(inputs=data['inputs'] * 2, data_samples=data['data_samples'] * 2)
    data = model.data_preprocessor(data, training=True)
    losses = model(**data, mode='loss')
    predictions = cfg.model.decode_head.transformer_decoder.num_layers + 1
    assert len([key for key in losses if 'loss_mask' in key]) == predictions == 14
    loss = sum(losses.values())
    assert torch.isfinite(loss)
    loss.backward()
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_number_of_classes_is_set_in_one_place():
    cfg = load('faseg_swin-t_ade20k')
    cfg.merge_from_dict({'model.decode_head.num_classes': 7, 'model.keep_scores': True})
    cfg.model.backbone.depths = [1, 1, 1, 1]
    model = build_segmentor(cfg)
    data = batch(64, 64, gt_sem_seg=PixelData(data=torch.arange(64).repeat(1, 64, 1) % 7))
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        (result,) = model.eval().test_step(batch(64, 64))
    assert result.seg_logits.data.shape == (7, 64, 64)


# Training rules


@pytest.mark.parametrize('name', LONG_RUNS)
def test_schedule(name):
    cfg = load(name)
    max_iters = 90_000 if name == CITYSCAPES else 160_000
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (max_iters, 5000)
    assert cfg.custom_hooks[0].type == 'RunStartHook'
    hooks = {'SettingsCheckHook', 'DataCheckHook', 'CheckpointCheckHook'}
    assert hooks < {hook.type for hook in cfg.custom_hooks}
    assert cfg.default_hooks.checkpoint.interval == 5000
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=1e-4, weight_decay=0.05)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=0.01, norm_type=2)
    # 8 GPUs with 2 images each
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.auto_scale_lr.enable is False

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    (schedule,) = (
        PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer))
        for scheduler in cfg.param_scheduler
    )
    assert schedule.by_epoch is False
    for step in range(2001):
        if step % 1000 == 0:
            expected = 1e-4 * (1 - step / max_iters) ** 0.9
            assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6)
        OptimWrapper(optimizer).step()
        schedule.step()


@pytest.mark.parametrize('name', LONG_RUNS)
def test_losses_and_points(name):
    head = load(name).model.decode_head
    assert (head.loss_cls.loss_weight, head.loss_mask.loss_weight) == (2, 5)
    assert (head.loss_dice.loss_weight, head.loss_dice.eps, head.loss_dice.naive_dice) == (5, 1, 1)
    assert head.train_cfg.num_points == 12544
    assert (head.train_cfg.oversample_ratio, head.train_cfg.importance_sample_ratio) == (3, 0.75)
    costs = {cost.type: cost.weight for cost in head.train_cfg.assigner.match_costs}
    assert costs == {
        'mmdet.ClassificationCost': 2,
        'mmdet.CrossEntropyLossCost': 5,
        'mmdet.DiceCost': 5,
    }
    assert 'class_weight' not in head.loss_cls


def test_ade20k_freezes_batch_norm_and_nothing_else():
    model = outline(load('faseg_r50_ade20k')).train()
    norms = [m for m in model.backbone.modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == 53
    assert not any(norm.training for norm in norms)
    frozen = {p for p in model.parameters() if not p.requires_grad}
    assert frozen == {p for norm in norms for p in norm.parameters()}


def test_cityscapes_trains_synced_batch_norm_and_freezes_nothing():
    model = outline(load(CITYSCAPES)).train()
    norms = [m for m in model.backbone.modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == 53
    assert all(isinstance(norm, nn.SyncBatchNorm) and norm.training for norm in norms)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ('name', 'window', 'pretrained'),
    [
        ('faseg_swin-t_ade20k', 7, 'swin_tiny_patch4_window7_224_2022'),
        ('faseg_swin-b_ade20k', 12, 'swin_base_patch4_window12_384_22k_2022'),
        ('faseg_swin-l_ade20k', 12, 'swin_large_patch4_window12_384_22k_2022'),
    ],
)
def test_swin(name, window, pretrained):
    cfg = load(name)
    assert pretrained in cfg.model.backbone.init_cfg.checkpoint
    assert cfg.model.backbone.pretrain_img_size == (224 if window == 7 else 384)
    blocks = [b for stage in outline(cfg).backbone.stages for b in stage.blocks]
    assert {block.attn.window_size for block in blocks} == {window}
    drop_path = [block.ffn.dropout_layer.drop_prob for block in blocks]
    assert drop_path == pytest.approx(np.linspace(0, 0.3, len(blocks)))


# Backbones of timm


@pytest.mark.parametrize('name', TIMM_ADE20K)
def test_weights_have_timms_names(name):
    timm = pytest.importorskip('timm', reason=NO_TIMM)
    cfg = load(name)
    backbone = cfg.model.backbone
    weights = backbone.init_cfg.checkpoint.removeprefix('timm://')
    assert weights in timm.list_pretrained()
    assert weights.split('.')[0] == backbone.model_name
    card = timm.models.get_pretrained_cfg(weights)
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == pytest.approx([255 * value for value in card.mean])
    assert preprocessor.std == pytest.approx([255 * value for value in card.std])
    # The licence is said where a user picks the config, and where the weights are named.
    files = ROOT / f'{name}.py', ROOT / f'_base_/models/backbones/{name.split("_")[1]}.py'
    for file in files:
        assert LICENCES[card.license] in file.read_text(), file


LICENCES = {
    'apache-2.0': 'Apache-2.0',
    'cc-by-nc-4.0': 'CC BY-NC 4.0',
    'dinov3-license': 'DINOv3 License',
    'mit': 'MIT',
}


@pytest.mark.full_size
@pytest.mark.parametrize('name', TIMM)
def test_maps_have_a_quarter_to_a_32nd_of_the_input(name):
    cfg = load(name)
    model = outline(cfg).eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        for height, width in ((512, 512), (96, 160)):  # the crop, and another
            maps = model.extract_feat(torch.zeros(1, 3, height, width))
            sizes = [(height // stride, width // stride) for stride in (4, 8, 16, 32)]
            assert [tuple(x.shape[2:]) for x in maps] == sizes
            assert [x.shape[1] for x in maps] == cfg.model.decode_head.in_channels


def test_dinov2_is_resampled_to_patches_of_16(tmp_path):
    timm = pytest.importorskip('timm', reason=NO_TIMM)
    cfg = load('faseg_dinov2-b_ade20k').model.backbone
    small = dict(depth=1, embed_dim=24, num_heads=2)
    donor = timm.create_model(cfg.model_name, **small)
    assert donor.patch_embed.proj.kernel_size == (14, 14)
    weights = donor.state_dict()
    # a ramp over 37 x 37 patches, which stays one on another grid
    ramp = torch.linspace(-1, 1, 37).expand(37, 37).reshape(1, -1, 1)
    weights['pos_embed'] = torch.cat([torch.zeros(1, 1, 24), ramp.expand(-1, -1, 24)], 1)
    file = tmp_path / 'weights.safetensors'
    save_file({key: value.contiguous() for key, value in weights.items()}, file)
    cfg.update(small, out_indices=(0,))
    cfg.init_cfg.checkpoint = str(file)
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    model = backbone.timm_model
    assert model.patch_embed.proj.kernel_size == (16, 16)
    expected = timm.layers.resample_patch_embed(weights['patch_embed.proj.weight'], [16, 16])
    torch.testing.assert_close(model.patch_embed.proj.weight.detach(), expected)
    grid = model.pos_embed.detach()[0, 1:, 0].reshape(32, 32)
    torch.testing.assert_close(grid[16], torch.linspace(-1, 1, 32), atol=0.03, rtol=0)
    for height, width in ((512, 512), (64, 96)):
        (x,) = backbone(torch.rand(1, 3, height, width))
        assert x.shape == (1, 24, height // 16, width // 16)


# Images and labels on their way to the model


def write_data(root, name, height, width):
    """One image without any 128, and its label map, where the data set of a config looks."""
    ade20k = name != CITYSCAPES
    images, labels = root / 'images', root / 'labels'
    for folder in (images, labels):
        folder.mkdir()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
    suffix = ('.jpg', '.png') if ade20k else ('_leftImg8bit.png', '_gtFine_labelTrainIds.png')
    Image.fromarray(image).save(images / f'one{suffix[0]}')
    label_map = np.full((height, width), 3 if ade20k else 2, dtype=np.uint8)
    label_map[0, 0] = 0 if ade20k else 255
    Image.fromarray(label_map).save(labels / f'one{suffix[1]}')


def dataset(cfg, root, split, pipeline=None):
    config = cfg[f'{split}_dataloader'].dataset
    config.update(data_root=str(root), data_prefix=dict(img_path='images', seg_map_path='labels'))
    if pipeline is not None:
        config.pipeline = pipeline
    return DATASETS.build(config)


@pytest.mark.parametrize(
    ('name', 'crop', 'shortest_edges', 'max_size'),
    [
        *(
            (name, (512, 512), [256, 307, 358, 409, 460, 512, 563, 614], 2048)
            for name in ADE20K_512
        ),
        *(
            (name, (640, 640), [320, 384, 448, 512, 576, 640, 704, 768], 2560)
            for name in ADE20K_640
        ),
        (CITYSCAPES, (512, 1024), [512, 614, 716, 819, 921, 1024, 1126, 1228], 4096),
    ],
)
def test_augmentation(name, crop, shortest_edges, max_size):
    pipeline = load(name).train_dataloader.dataset.pipeline
    assert [step.type for step in pipeline] == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'RandomChoiceResize',
        'RandomCrop',
        'PhotoMetricDistortion',
        'RandomFlip',
        *([] if name == CITYSCAPES else ['Pad']),
        'PackSegInputs',
    ]
    resize, random_crop, distortion, flip = pipeline[2:6]
    assert resize.scales[:8] == shortest_edges
    assert (len(resize.scales), resize.scales[-1]) == (16, 4 * shortest_edges[0])
    assert (resize.resize_type, resize.max_size) == ('AntialiasedResizeShortestEdge', max_size)
    assert Compose([random_crop]).transforms[0].cat_max_ratio == 1
    assert (tuple(random_crop.crop_size), flip.prob) == (crop, 0.5)
    transform = Compose([distortion]).transforms[0]
    assert (transform.brightness_delta, transform.hue_delta) == (32, 18)
    assert (transform.contrast_lower, transform.contrast_upper) == (0.5, 1.5)
    assert (transform.saturation_lower, transform.saturation_upper) == (0.5, 1.5)


@pytest.mark.parametrize(
    ('name', 'crop'), [('faseg_swin-t_ade20k', 512), ('faseg_swin-b_ade20k', 640)]
)
def test_small_images_are_padded_with_grey_before_normalisation(name, crop, tmp_path):
    cfg = load(name)
    write_data(tmp_path, name, 50, 60)
    cfg.train_dataloader.dataset.pipeline[2].scales = [crop // 2]
    np.random.seed(0)  # distortion makes some pixel of the image that very grey one day
    data = dataset(cfg, tmp_path, 'train')[0]
    image, labels = data['inputs'], data['data_samples'].gt_sem_seg.data
    assert (image.dtype, image.shape) == (torch.uint8, (3, crop, crop))
    assert (labels.dtype, labels.shape) == (torch.int64, (1, crop, crop))
    height, width = crop // 2, int(crop / 2 * 60 / 50 + 0.5)
    inside = torch.zeros(crop, crop, dtype=torch.bool)
    inside[:height, :width] = True
    assert (image[:, ~inside] == 128).all()
    assert not (image[:, inside] == 128).all(0).any()
    assert (labels[0, ~inside] == 255).all()
    assert labels[0, inside].unique().tolist() == [2, 255]  # ADE20K's 3, and its 0

    model = outline(cfg)
    (normalised,) = model.data_preprocessor(pack(data), training=True)['inputs']
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    assert normalised.shape == (3, crop, crop)
    torch.testing.assert_close(normalised[:, -1, -1], (128 - mean) / std)
    rgb = image.flip(0)[:, 0, 0]
    torch.testing.assert_close(normalised[:, 0, 0], (rgb - mean) / std)


def pack(data):
    return {key: [value] for key, value in data.items()}


def test_cityscapes_is_cropped_and_never_padded(tmp_path):
    cfg = load(CITYSCAPES)
    write_data(tmp_path, CITYSCAPES, 200, 400)
    cfg.train_dataloader.dataset.pipeline[2].scales = [512]
    data = dataset(cfg, tmp_path, 'train')[0]
    assert data['inputs'].shape == (3, 512, 1024)
    assert set(data['data_samples'].gt_sem_seg.data.unique().tolist()) <= {2, 255}
    inputs = outline(cfg).data_preprocessor(pack(data), training=True)['inputs']
    assert inputs[0].shape == (3, 512, 1024)


@pytest.mark.parametrize(
    ('name', 'size', 'resized', 'padded'),
    [
        *((name, (100, 150), (512, 768), (512, 768)) for name in ADE20K_512),
        *((name, (100, 150), (640, 960), (640, 960)) for name in ADE20K_640),
        (CITYSCAPES, (100, 200), (1024, 2048), (1024, 2048)),
        ('faseg_r50_ade20k', (100, 1000), (205, 2048), (224, 2048)),
        ('faseg_swin-b_ade20k', (100, 1000), (256, 2560), (256, 2560)),
        (CITYSCAPES, (100, 1000), (205, 2048), (224, 2048)),
        ('faseg_r50_ade20k', (100, 151), (512, 773), (512, 800)),
    ],
)
def test_test_size(name, size, resized, padded, tmp_path):
    cfg = load(name)
    write_data(tmp_path, name, *size)
    data = dataset(cfg, tmp_path, 'test')[0]
    assert data['inputs'].shape[1:] == resized
    sample = data['data_samples']
    assert sample.ori_shape == sample.gt_sem_seg.shape == size
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    (inputs,) = preprocessor(pack(data), training=False)['inputs']
    assert inputs.shape[1:] == padded
    assert (inputs[:, resized[0] :] == 0).all()
    assert (inputs[:, :, resized[1] :] == 0).all()


SCALES_512 = (256, 384, 512, 640, 768, 896)


@pytest.mark.parametrize(
    ('name', 'single', 'scales', 'max_size'),
    [
        *((name, (512, 2048), SCALES_512, 3584) for name in ADE20K_512),
        ('faseg_swin-b_ade20k', (640, 2560), (320, 480, 640, 800, 960, 1120), 4480),
        ('faseg_swin-l_ade20k', (640, 2560), SCALES_512, 3584),
        (CITYSCAPES, (1024, 2048), (512, 768, 1024, 1280, 1536, 1792), 4096),
    ],
)
def test_multi_scale_test(name, single, scales, max_size, tmp_path):
    cfg = load(name)
    assert cfg.tta_model.type == 'FASegTTAModel'
    assert cfg.tta_pipeline[1].scale == single[0]
    assert cfg.tta_pipeline[1].max_size == single[1]
    # 1 : 6, so that the longest edges meet both limits: that of single scale comes first
    write_data(tmp_path, name, 50, 300)
    data = dataset(cfg, tmp_path, 'test', cfg.tta_pipeline)[0]
    ratio = single[1] / int(single[1] / 6 + 0.5)
    expected = []
    for scale in scales:
        shrink = min(1, max_size / (scale * ratio))
        expected.append((int(scale * shrink + 0.5), int(scale * ratio * shrink + 0.5)))
    sizes = [tuple(view.shape[1:]) for view in data['inputs']]
    assert sizes == [size for size in expected for _ in range(2)]
    for straight, flipped in zip(data['inputs'][::2], data['inputs'][1::2], strict=True):
        assert torch.equal(straight.flip(2), flipped)
    assert all(sample.gt_sem_seg.shape == (50, 300) for sample in data['data_samples'])


@pytest.mark.parametrize(
    ('name', 'variable'), [('faseg_r50_ade20k', 'ADE20K_ROOT'), (CITYSCAPES, 'CITYSCAPES_ROOT')]
)
def test_data_root_can_be_set_from_outside(name, variable, monkeypatch):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    assert cfg.train_dataloader.dataset.data_root.startswith('data/')
    monkeypatch.setenv(variable, '/elsewhere')
    cfg = Config.fromfile(ROOT / f'{name}.py')
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == '/elsewhere'


# Fine-tuning


def test_fine_tuning_takes_two_lines():
    source = ast.parse((ROOT / 'faseg_swin-t_camvid.py').read_text())
    names = [statement.targets[0].id for statement in source.body]
    assert names == ['_base_', 'load_from', 'model']


def test_fine_tuning_takes_over_all_but_the_class_layer(tmp_path):
    trained, tuned = load('faseg_swin-t_ade20k'), load('faseg_swin-t_camvid')
    assert tuned.model.backbone.init_cfg is None  # its weights come with the rest
    for cfg in (trained, tuned):
        cfg.model.backbone.depths = [1, 1, 1, 1]
    trained, tuned = build_segmentor(trained), build_segmentor(tuned)
    torch.save(trained.state_dict(), tmp_path / 'trained.pth')
    load_checkpoint(tuned, str(tmp_path / 'trained.pth'), map_location='cpu')
    before, after = trained.state_dict(), tuned.state_dict()
    assert before.keys() == after.keys()
    differ = [
        key
        for key in before
        if before[key].shape != after[key].shape or not torch.equal(before[key], after[key])
    ]
    assert differ == ['decode_head.cls_embed.weight', 'decode_head.cls_embed.bias']
    assert after['decode_head.cls_embed.bias'].shape == (12,)
