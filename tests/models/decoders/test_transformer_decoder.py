"""The fast decoder against the literal formulas, in float64."""

import pytest
import torch

from mmseg_faseg.models.decoders import high_res_attention
from mmseg_faseg.models.decoders.high_res_attention import select_pixels
from tests.helpers import plain_decoder
from tests.helpers.small_head import DEVICES, build_head, feature_maps, head_config


@pytest.fixture
def taken(monkeypatch):
    """The pixels that HRCA takes, call by call."""
    indices = []

    def select(*args):
        indices.append(select_pixels(*args)[0])
        return indices[-1], None

    monkeypatch.setitem(high_res_attention._SELECTORS, 'pixel', select)
    return indices


SIZES = [(64, 96), (128, 128), (90, 75), (33, 161), (20, 20)]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('region', ['block', 'pixel'])
def test_equals_literal_formulas(size, region, device, taken):
    head = build_head(head_config(**{'high_res_attn.region': region, 'high_res_attn.ratio': 0.3}))
    assert_equal(head.to(device), [x.to(device) for x in feature_maps(*size)], taken)


def test_equals_literal_formulas_of_the_paper(taken):
    head = build_head(
        head_config(
            **{
                'positional_query.first_region': 'foreground',
                'high_res_attn.region': 'pixel',
                'high_res_attn.query_pos': 'dynamic',
            }
        )
    )
    assert_equal(head, feature_maps(96, 64), taken)


def test_default_ratio_takes_one_of_every_32_blocks():
    assert_equal(build_head(), feature_maps(8 * 32, 9 * 32, batch=1))


def assert_equal(head, x, taken=()):
    class_logits, mask_logits = head(x)
    expected_classes, expected_masks = plain_decoder.forward(head, x, taken)
    assert len(class_logits) == len(mask_logits) == 14
    for got, expected in zip(class_logits, expected_classes, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)
    for got, expected in zip(mask_logits, expected_masks, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_masks_are_neither_full_nor_empty():
    """The comparison above says nothing if the attention masks hide nothing."""
    head = build_head()
    masks = torch.stack(head(feature_maps(128, 128))[1])
    forbidden = (masks.sigmoid() < 0.15).double().mean()
    assert 0.1 < forbidden < 0.9


def test_same_predictions_in_training_and_evaluation():
    head, x = build_head(), feature_maps(64, 96)
    for got, expected in zip(head.train()(x), head.eval()(x), strict=True):
        torch.testing.assert_close(torch.stack(got), torch.stack(expected), rtol=0, atol=0)


def test_gradients_reach_key_pos_and_learned_embedding_and_mlp():
    head = build_head()
    class_logits, mask_logits = head(feature_maps(64, 96))
    (class_logits[-1].square().sum() + mask_logits[-1].square().sum()).backward()
    for conv in head.pixel_decoder.positional_encoding.convs:
        assert conv.weight.grad.abs().sum() > 0
    assert head.query_embed.weight.grad.abs().sum() > 0
    assert head.pixel_decoder.position_convs[0].conv.weight.grad.abs().sum() > 0
    for linear in (head.positional_query.mlp[0], head.positional_query.mlp[2]):
        assert linear.weight.grad.abs().sum() > 0


def test_gradients_equal_those_of_literal_formulas():
    head, x = build_head(), feature_maps(64, 96)
    grads = []
    for forward in (head, lambda x: plain_decoder.forward(head, x)):
        head.zero_grad()
        class_logits, mask_logits = forward(x)
        sum(p.square().mean() for p in class_logits + mask_logits).backward()
        grads.append({name: p.grad.clone() for name, p in head.named_parameters()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize('query', ['LearnedPositionalQuery', 'AnchorPositionalQuery'])
@pytest.mark.parametrize('high_res', [True, False])
def test_ablations_run(query, high_res):
    config = head_config(num_transformer_feat_level=4 if high_res else 3)
    config.positional_query = dict(type=query)
    if not high_res:
        config.high_res_attn = None
        config.transformer_decoder.num_layers = 9
    head = build_head(config)
    class_logits, mask_logits = head(feature_maps(64, 96))
    assert len(class_logits) == (14 if high_res else 10)
    sum(p.sum() for p in class_logits + mask_logits).backward()
    # DistributedDataParallel waits for each of them
    without = [n for n, p in head.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r'mask_threshold must lie in \(0, 1\), got 1.5'):
        build_head(head_config(mask_threshold=1.5))
