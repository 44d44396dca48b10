import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from tests.helpers.configs import load
from tests.helpers.full_size import outline
from tests.helpers.optional import needs_timm

RELEASED = [
    'faseg_r50_ade20k',
    'faseg_swin-t_ade20k',
    'faseg_swin-b_ade20k',
    'faseg_swin-l_ade20k',
    'faseg_r50_cityscapes',
    'faseg_convnext-t_ade20k',
]
NORMS = {'BatchNorm2d', 'SyncBatchNorm', 'LayerNorm', 'LayerNorm2d', 'GroupNorm'}
OTHERS_WITHOUT_DECAY = (
    'decode_head.query_feat.weight',
    'decode_head.query_embed.weight',
    'decode_head.level_embed.weight',
)


def build(name, **backbone):
    """The model of a config, without its pre-trained weights, and the config."""
    cfg = load(name)
    cfg.model.backbone.update(backbone)
    return outline(cfg), cfg


def optimizer_of(model, **optim_wrapper):
    """The optimizer that the constructor makes, with AdamW 1e-4 and decay 0.05."""
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
        constructor='FASegOptimWrapperConstructor',
    )
    init_default_scope('mmseg')
    return build_optim_wrapper(model, ConfigDict(cfg | optim_wrapper)).optimizer


def settings(optimizer):
    """Learning rate and decay by parameter; fails where a parameter is in two groups."""
    found = {}
    for group in optimizer.param_groups:
        for param in group['params']:
            assert param not in found
            found[param] = (group['lr'], group['weight_decay'])
    return found


def expected(model):
    """Learning rate and decay by parameter: the published rule, by module class and full name."""
    rule = {}
    for module_name, module in model.named_modules():
        for own_name, param in module.named_parameters(recurse=False):
            name = f'{module_name}.{own_name}'
            without_decay = (
                type(module).__name__ in NORMS
                or name in OTHERS_WITHOUT_DECAY
                or name.endswith(('.relative_position_bias_table', '.absolute_pos_embed'))
            )
            if param.requires_grad:
                rule[param] = (
                    1e-5 if name.startswith('backbone.') else 1e-4,
                    0.0 if without_decay else 0.05,
                )
    return rule


@pytest.mark.parametrize('name', RELEASED)
def test_every_parameter_follows_the_rule(name):
    model, cfg = build(name)
    # the wrapper around the optimizer is another matter: AMP may ask for a GPU
    optim_wrapper = cfg.optim_wrapper | dict(type='OptimWrapper')
    optim_wrapper.pop('loss_scale')
    optimizer = optimizer_of(model, **optim_wrapper)
    rule = expected(model)
    found = settings(optimizer)
    names = {param: param_name for param_name, param in model.named_parameters()}
    assert found.keys() == rule.keys()
    wrong = [names[p] for p in rule if found[p] != pytest.approx(rule[p], rel=1e-12)]
    assert wrong == []
    assert len(optimizer.param_groups) <= 4


@pytest.mark.parametrize(
    ('param', 'lr', 'decay'),
    [
        ('backbone.patch_embed.norm.weight', 1e-5, 0),
        ('backbone.stages.0.blocks.0.norm1.bias', 1e-5, 0),
        ('backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table', 1e-5, 0),
        ('backbone.stages.0.blocks.0.attn.w_msa.qkv.bias', 1e-5, 0.05),
        ('backbone.norm3.weight', 1e-5, 0),
        ('decode_head.query_feat.weight', 1e-4, 0),
        ('decode_head.query_embed.weight', 1e-4, 0),
        ('decode_head.level_embed.weight', 1e-4, 0),
        ('decode_head.pixel_decoder.level_encoding.weight', 1e-4, 0.05),
        ('decode_head.pixel_decoder.input_convs.0.gn.bias', 1e-4, 0),
        ('decode_head.pixel_decoder.input_convs.0.conv.bias', 1e-4, 0.05),
        ('decode_head.transformer_decoder.layers.0.norms.0.weight', 1e-4, 0),
        ('decode_head.transformer_decoder.layers.0.cross_attn.attn.in_proj_bias', 1e-4, 0.05),
        ('decode_head.cls_embed.bias', 1e-4, 0.05),
    ],
)
def test_the_rule_by_example(small_model, param, lr, decay):
    found = settings(optimizer_of(small_model))
    assert found[small_model.get_parameter(param)] == pytest.approx((lr, decay))


@pytest.fixture(scope='module')
def small_model():
    model, _ = build('faseg_swin-t_ade20k', depths=[1, 1, 1, 1], use_abs_pos_embed=True)
    return model


def test_absolute_position_embeddings_do_not_decay(small_model):
    found = settings(optimizer_of(small_model))
    assert found[small_model.backbone.absolute_pos_embed] == pytest.approx((1e-5, 0))


def test_frozen_batch_norm_stays_out():
    model, _ = build('faseg_r50_ade20k')
    found = settings(optimizer_of(model))
    assert model.backbone.bn1.weight not in found
    assert model.backbone.conv1.weight in found


def test_backbone_lr_mult_is_an_option(small_model):
    found = settings(optimizer_of(small_model, paramwise_cfg=dict(backbone_lr_mult=0.5)))
    assert found[small_model.backbone.norm0.weight][0] == pytest.approx(5e-5)
    assert found[small_model.decode_head.cls_embed.weight][0] == pytest.approx(1e-4)


def test_a_shared_parameter_is_listed_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(3, 3)
            self.head = nn.Linear(3, 3)
            self.head.weight = self.backbone.weight

    model = Tied()
    assert len(settings(optimizer_of(model))) == 3


def test_without_weight_decay_of_its_own_the_optimizers_default_holds():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    found = settings(optimizer_of(model, optimizer=dict(type='AdamW', lr=1e-4)))
    default = torch.optim.AdamW([nn.Parameter(torch.zeros(1))]).defaults['weight_decay']
    assert found[model[0].weight] == pytest.approx((1e-4, default))
    assert found[model[1].weight] == pytest.approx((1e-4, 0))


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(paramwise_cfg=dict(norm_decay_mult=0.0)), "'norm_decay_mult'.*'backbone_lr_mult'"),
        (dict(optimizer=dict(type='AdamW', weight_decay=0.05)), 'needs an `lr`'),
        (dict(paramwise_cfg=dict(layer_decay_rate=0)), r'must be in \(0, 1\], got 0'),
        (dict(paramwise_cfg=dict(layer_decay_rate=1.1)), 'got 1.1'),
    ],
)
def test_what_the_rule_cannot_use_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        optimizer_of(nn.Linear(3, 3), **wrong)


# --- layer-wise learning rates

TINY_VIT = dict(
    type='TimmFeatures',
    model_name='vit_small_patch16_dinov3',
    out_indices=(0, 2),
    norm=True,
    depth=3,
    embed_dim=24,
    num_heads=2,
)


def on_a_head(backbone):
    """A segmentor's outline: a backbone and something after it."""
    init_default_scope('mmseg')
    return nn.ModuleDict(
        dict(backbone=MODELS.build(backbone), neck=nn.Conv2d(3, 3, 1), decode_head=nn.Linear(3, 3))
    )


@needs_timm
@pytest.mark.parametrize(
    ('param', 'lr', 'decay'),
    [
        # three blocks: 0.5 times 1e-4, and half of it for each block before
        ('backbone.timm_model.patch_embed.proj.weight', 0.0625e-4, 0.05),
        ('backbone.timm_model.cls_token', 0.0625e-4, 0.05),
        ('backbone.timm_model.blocks.0.attn.qkv.weight', 0.125e-4, 0.05),
        ('backbone.timm_model.blocks.0.norm1.weight', 0.125e-4, 0),
        ('backbone.timm_model.blocks.1.mlp.fc1.bias', 0.25e-4, 0.05),
        ('backbone.timm_model.blocks.2.mlp.fc2.weight', 0.5e-4, 0.05),
        ('backbone.timm_model.norm.weight', 0.5e-4, 0),
        ('neck.weight', 1e-4, 0.05),
        ('decode_head.weight', 1e-4, 0.05),
    ],
)
def test_each_layer_learns_at_a_fraction_of_the_next(param, lr, decay):
    model = on_a_head(TINY_VIT)
    paramwise = dict(backbone_lr_mult=0.5, layer_decay_rate=0.5)
    optimizer = optimizer_of(model, paramwise_cfg=paramwise)
    found = settings(optimizer)
    assert found.keys() == set(model.parameters())
    assert found[model.get_parameter(param)] == pytest.approx((lr, decay), rel=1e-12)
    assert len(optimizer.param_groups) == 1 + 3 * 2 + 1  # of embeddings, blocks and the rest


@needs_timm
def test_stages_count_by_their_blocks():
    """ConvNeXt: the stem, then each block; what makes a stage smaller goes with its first block."""
    backbone = dict(
        type='TimmFeatures',
        model_name='convnextv2_atto',
        out_indices=(0, 1, 2, 3),
        depths=(1, 1, 2, 1),
        dims=(8, 8, 8, 8),
    )
    model = on_a_head(backbone)
    found = settings(optimizer_of(model, paramwise_cfg=dict(layer_decay_rate=0.8)))
    for name, power in {
        'stem.0.weight': 5,
        'stages.0.blocks.0.conv_dw.weight': 4,
        'stages.1.downsample.1.weight': 3,
        'stages.1.blocks.0.mlp.fc1.weight': 3,
        'stages.2.blocks.0.conv_dw.weight': 2,
        'stages.2.blocks.1.conv_dw.weight': 1,
        'stages.3.blocks.0.conv_dw.weight': 0,
    }.items():
        param = model.get_parameter(f'backbone.timm_model.{name}')
        assert found[param][0] == pytest.approx(1e-5 * 0.8**power, rel=1e-12), name


@needs_timm
@pytest.mark.parametrize('rate', [None, 1, 1.0])
def test_a_rate_of_one_changes_nothing(rate):
    model = on_a_head(TINY_VIT)
    plain, same = (
        optimizer_of(model, paramwise_cfg=cfg) for cfg in ({}, dict(layer_decay_rate=rate))
    )
    assert len(same.param_groups) == len(plain.param_groups) <= 4
    for ours, theirs in zip(same.param_groups, plain.param_groups, strict=True):
        assert all(a is b for a, b in zip(ours['params'], theirs['params'], strict=True))
        assert (ours['lr'], ours['weight_decay']) == (theirs['lr'], theirs['weight_decay'])


@needs_timm
@pytest.mark.parametrize('name', ['faseg_dinov2-b_ade20k', 'faseg_dinov3-l_ade20k'])
def test_configs_of_plain_vits(name):
    model, cfg = build(name, embed_dim=48, num_heads=2)
    paramwise = cfg.optim_wrapper.paramwise_cfg
    assert paramwise == dict(backbone_lr_mult=1.0, layer_decay_rate=0.8)
    found = settings(optimizer_of(model, paramwise_cfg=paramwise))
    blocks = model.backbone.timm_model.blocks
    for index, block in enumerate(blocks):
        lr = found[block.mlp.fc1.weight][0]
        assert lr == pytest.approx(1e-4 * 0.8 ** (len(blocks) - 1 - index), rel=1e-12)
    assert found[model.neck.upsample_2x[0].weight] == pytest.approx((1e-4, 0.05))


@pytest.mark.parametrize(
    ('model', 'got'),
    [(nn.ModuleDict(dict(backbone=nn.Linear(3, 3))), 'Linear'), (nn.Linear(3, 3), 'NoneType')],
)
def test_layers_that_nobody_counts_are_refused(model, got):
    message = f'layer_decay_rate=0.9 needs a backbone that counts its layers .* got {got}'
    with pytest.raises(ValueError, match=message):
        optimizer_of(model, paramwise_cfg=dict(layer_decay_rate=0.9))


@needs_timm
def test_layers_that_timm_does_not_count_are_refused(monkeypatch):
    model = on_a_head(TINY_VIT)
    monkeypatch.delattr(type(model.backbone.timm_model), 'group_matcher')
    with pytest.raises(ValueError, match='does not count the layers of vit_small_patch16_dinov3'):
        optimizer_of(model, paramwise_cfg=dict(layer_decay_rate=0.9))
