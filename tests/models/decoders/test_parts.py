"""Each part alone, against the plain formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_faseg.models import (
    AnchorPositionalQuery,
    ConditionalPositionalEncoding,
    DynamicFocusPositionalQuery,
    FocusAttention,
    HighResolutionCrossAttention,
)
from mmseg_faseg.models.decoders.high_res_attention import select_blocks, select_pixels
from mmseg_faseg.models.decoders.layer_view import FeatureLevel, LayerView
from mmseg_faseg.models.decoders.mask_boxes import boxes_of_masks
from mmseg_faseg.models.ops import chunks
from tests.helpers.small_head import build_head, feature_maps, head_config


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize('queries_at_a_time', [5, 2])
def test_attention_equals_mmcv_and_reports_its_focus(monkeypatch, queries_at_a_time):
    chunk = queries_at_a_time * 2 * 4 * 9 * 8  # batch, heads, keys, float64
    monkeypatch.setattr(chunks, 'chunk_bytes', lambda _: chunk)
    torch.manual_seed(0)
    ours, stock = (cls(16, 4).double() for cls in (FocusAttention, MultiheadAttention))
    stock.batch_first = True
    ours.load_state_dict(stock.state_dict())
    query, key, value, pos = random(2, 5, 16), random(2, 9, 16), random(2, 9, 16), random(2, 5, 16)
    mask = torch.rand(2, 5, 9) < 0.5
    mask[..., 0] = False
    expected = stock(
        query,
        key,
        value,
        query_pos=pos,
        key_pos=torch.zeros_like(key),
        attn_mask=mask.repeat_interleave(4, 0),
    )
    _, probabilities = stock.attn(
        *((x.transpose(0, 1)) for x in (query + pos, key, value)),
        attn_mask=mask.repeat_interleave(4, 0),
    )
    for need_focus in (False, True):
        out, focus = ours(query, key, value, pos, mask, need_focus)
        torch.testing.assert_close(out, expected)
    torch.testing.assert_close(focus, probabilities)
    assert ours(query, key, value)[1] is None


def test_dynamic_query_is_the_literal_sum():
    torch.manual_seed(0)
    generator = DynamicFocusPositionalQuery(8).double()
    focus, key_pos, embed = random(2, 3, 10).softmax(-1), random(2, 10, 8), random(2, 3, 8)
    pooled = torch.zeros(2, 3, 8, dtype=torch.float64)
    for token in range(10):
        pooled += focus[:, :, token, None] * key_pos[:, None, token]
    linear, _, out = generator.mlp
    expected = F.linear(F.relu((pooled + embed) @ linear.weight.T + linear.bias), out.weight)
    torch.testing.assert_close(generator(embed, focus, key_pos), expected + out.bias)


def test_a_dynamic_query_can_see_the_box_of_its_mask():
    """Nothing at first, and then what an anchor query encodes, added to what h sees."""
    head = build_head()
    with_box = build_head(head_config(**{'positional_query.mask_box': True}))
    x = feature_maps(64, 96)
    for got, expected in zip(with_box(x), head(x), strict=True):
        assert torch.equal(torch.stack(got), torch.stack(expected))

    query = with_box.positional_query
    torch.nn.init.normal_(query.box.proj.weight)
    seen = []
    query.register_forward_hook(lambda _, given, result: seen.append((*given, result)))
    anchors = []
    query.box.register_forward_hook(lambda _, given, result: anchors.append(result))
    with_box(x)
    assert len(seen) == len(anchors) > 5
    for (_, focus, key_pos, result), anchor in zip(seen, anchors, strict=True):
        assert anchor.abs().max() > 0.1
        plain = focus @ key_pos + with_box.query_embed.weight + anchor
        torch.testing.assert_close(result, query.mlp(plain), rtol=0, atol=1e-12)


@pytest.mark.parametrize(('region', 'pixels'), [('background', [1, 3]), ('foreground', [0, 2])])
def test_first_focus_pools_a_region(region, pixels):
    generator = DynamicFocusPositionalQuery(8, region)
    logits = torch.tensor([2.0, -1.0, 0.5, -3.0]).view(1, 1, 2, 2)
    expected = torch.zeros(1, 1, 4)
    expected[..., pixels] = 1 / (2 + 1e-6)
    torch.testing.assert_close(generator.first_focus(logits), expected)


def test_first_focus_of_an_empty_region_is_zero():
    focus = DynamicFocusPositionalQuery(8).first_focus(torch.ones(1, 2, 3, 3))
    assert (focus == 0).all()


def test_boxes_of_masks():
    logits = torch.full((1, 3, 4, 8), -1.0)
    logits[0, 0, 1:3, 2:4] = 1
    logits[0, 1] = 1
    boxes = boxes_of_masks(logits)
    whole = [0.5, 0.5, 1.0, 1.0]
    torch.testing.assert_close(boxes, torch.tensor([[[3 / 8, 0.5, 0.25, 0.5], whole, whole]]))


def test_anchor_query_encodes_each_coordinate():
    generator = AnchorPositionalQuery(8).double()
    logits = torch.full((1, 1, 4, 8), -1.0, dtype=torch.float64)
    logits[0, 0, 1:3, 2:4] = 1
    parts = []
    for coordinate in (3 / 8, 0.5, 0.25, 0.5):
        angles = [2 * math.pi * coordinate / 10000 ** (i / 2) for i in range(2)]
        parts += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    expected = F.linear(
        torch.tensor(parts, dtype=torch.float64), generator.proj.weight, generator.proj.bias
    )
    got = generator(logits, torch.float64)
    torch.testing.assert_close(got[0, 0], expected, rtol=0, atol=1e-6)


def test_conditional_encoding_is_a_depthwise_convolution():
    encoding = ConditionalPositionalEncoding(4, 2).double()
    maps = [random(2, 4, 3, 5), random(2, 4, 6, 10)]
    for got, x, conv in zip(encoding(maps), maps, encoding.convs, strict=True):
        padded = F.pad(x, (1, 1, 1, 1))
        expected = conv.bias.view(1, -1, 1, 1).expand_as(x).clone()
        for dy in range(3):
            for dx in range(3):
                window = padded[..., dy : dy + x.shape[2], dx : dx + x.shape[3]]
                expected = expected + window * conv.weight[:, 0, dy, dx].view(1, -1, 1, 1)
        torch.testing.assert_close(got, expected)


def test_a_sinusoid_can_be_added_to_the_conditional_encoding():
    torch.manual_seed(0)
    plain, both = (ConditionalPositionalEncoding(8, 2, add_sinusoid=add) for add in (False, True))
    both.load_state_dict(plain.state_dict())
    maps = [random(2, 8, 3, 5).float(), random(2, 8, 6, 10).float()]
    for got, conditional, x in zip(both(maps), plain(maps), maps, strict=True):
        expected = conditional.clone()
        for channel in range(8):
            # rows first, then columns; sines and cosines in turn, of falling frequency
            height, width = x.shape[-2:]
            angle = 2 * math.pi / 10000 ** (2 * (channel % 4 // 2) / 4)
            wave = math.cos if channel % 2 else math.sin
            for i in range(height):
                for j in range(width):
                    share = (i + 1) / height if channel < 4 else (j + 1) / width
                    expected[:, channel, i, j] += wave(angle * share)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('size', [(24, 32), (17, 25), (24, 27)])
def test_blocks_cover_every_token_once_when_all_are_chosen(size):
    coarse = (3, 4)
    index, padding = select_blocks(torch.rand(2, 12), coarse, size, 1.0)
    assert index.shape == (2, 12 * 64)
    for b in range(2):
        own = index[b] if padding is None else index[b][~padding[b]]
        assert own.sort().values.tolist() == list(range(size[0] * size[1]))


def test_blocks_lie_under_the_best_tokens():
    score = torch.tensor([[0.1, 0.9, 0.2, 0.3, 0.0, 0.8]])
    index, padding = select_blocks(score, (2, 3), (16, 24), 2 / 6)
    rows, cols = index[0] // 24, index[0] % 24
    assert padding is None
    assert {(r // 8, c // 8) for r, c in zip(rows.tolist(), cols.tolist(), strict=True)} == {
        (0, 1),
        (1, 2),
    }


def test_backbones_that_round_down_leave_no_empty_block():
    index, padding = select_blocks(torch.rand(1, 4), (2, 2), (19, 18), 1.0)
    assert padding is None
    assert index.unique().numel() == 256


@pytest.mark.parametrize(('tokens', 'count'), [((3, 4), 1), ((8, 8), 2), ((16, 15), 7)])
def test_number_of_regions(tokens, count):
    score = torch.rand(1, tokens[0] * tokens[1])
    fine = (8 * tokens[0], 8 * tokens[1])
    for select in (select_blocks, select_pixels):
        assert select(score, tokens, fine, 1 / 32)[0].shape == (1, 64 * count)


@pytest.mark.parametrize('region', ['block', 'pixel'])
@pytest.mark.parametrize('size', [(24, 32), (17, 25)])
def test_high_res_attention_over_everything_is_dense_attention(region, size):
    torch.manual_seed(0)
    hrca = HighResolutionCrossAttention(8, 2, region=region, ratio=1.0).double()
    tokens = size[0] * size[1]
    query, features, pos = random(2, 3, 8), random(2, tokens, 8), random(2, tokens, 8)
    embed, query_pos = random(8), random(2, 3, 8)
    view = LayerView(
        level=FeatureLevel(features, pos, embed, size),
        coarsest=FeatureLevel(None, None, None, (3, 4)),
        query_embed=query_pos,
        query_pos=None,
        queries=None,
        predictor=None,
        logit_threshold=0.0,
        coarse_focus=random(2, 3, 12).softmax(-1),
    )
    attended = hrca.attended(view)
    got, focus = hrca(query, attended.key, attended.value, attended.query_pos, attended.attn_mask)
    value = features + embed
    expected, _ = FocusAttention.forward(hrca, query, value + pos, value, query_pos)
    torch.testing.assert_close(got, expected)
    assert focus is None


NAMES = [
    'FASegHead',
    'FASegPixelDecoder',
    'FASegSegmentor',
    'ConditionalPositionalEncoding',
    'DynamicFocusPositionalQuery',
    'LearnedPositionalQuery',
    'AnchorPositionalQuery',
    'HighResolutionCrossAttention',
]


@pytest.mark.parametrize('scope', ['mmseg', 'mmdet', 'mmengine', 'mmpretrain'])
@pytest.mark.parametrize('name', NAMES)
def test_registries_find_every_part_whatever_the_scope(scope, name):
    from mmdet.registry import MODELS as MMDET_MODELS

    with DefaultScope.overwrite_default_scope(scope):
        for registry in (MODELS, MMDET_MODELS, ROOT_MODELS):
            assert registry.get(name).__name__ == name
            assert registry.get(f'mmseg.{name}').__name__ == name


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'high_res_attn.region': 'circle'},
            r"region must be one of \['block', 'pixel'\], got 'ci",
        ),
        ({'high_res_attn.ratio': 0.0}, r'ratio must lie in \(0, 1\], got 0.0'),
        ({'high_res_attn.query_pos': 'none'}, "query_pos must be 'learned' or 'dynamic'"),
        (
            {'positional_query.first_region': 'sky'},
            "must be 'background' or 'foreground', got 'sky'",
        ),
        ({'positional_encoding.type': 'RotaryEncoding'}, "positional_encoding .* 'RotaryEncoding'"),
        (
            {'pixel_decoder.deformable_backend': 'fast'},
            "deformable_backend must be one of .*'embedding_bag'.*, got 'fast'",
        ),
        ({'num_classes': 0}, 'num_classes must be at least 1, got 0'),
        ({'num_queries': 0}, 'num_queries must be at least 1, got 0'),
        ({'feat_channels': 64}, 'feat_channels is 64, but the embed_dims of transformer_decoder'),
        ({'num_transformer_feat_level': 3}, 'num_transformer_feat_level=4 levels, got 3'),
        ({'transformer_decoder.num_layers': 3}, 'at least the number of levels, 4, got 3'),
        ({'loss_cls.class_weight': [1.0] * 3}, 'must have num_classes . 1 = 6 entries, got 3'),
        (
            {'transformer_decoder.layer_cfg.cross_attn_cfg.num_heads': 5},
            'embed_dims must be divisible by num_heads, got 32 and 5',
        ),
    ],
)
def test_wrong_config_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_head(head_config(**changes))


def test_wrong_number_of_feature_levels_is_refused():
    with pytest.raises(ValueError, match='names 4 feature levels, got 3 maps'):
        build_head()(feature_maps(64, 64)[:3])


def test_levels_of_unrelated_sizes_are_refused():
    with pytest.raises(ValueError, match='about 8 times the coarse one, got 8 x 8 over 4 x 4'):
        select_blocks(torch.rand(1, 16), (4, 4), (8, 8), 0.5)
