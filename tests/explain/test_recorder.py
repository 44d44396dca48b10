"""What the decoder tells of its layers, against the literal formulas in float64."""

from types import SimpleNamespace

import pytest
import torch

from mmseg_faseg.explain.recorder import mask_head_of, record
from mmseg_faseg.models.decoders import high_res_attention
from mmseg_faseg.models.decoders.focus_attention import FocusAttention
from mmseg_faseg.models.decoders.high_res_attention import select_pixels
from tests.helpers import plain_decoder
from tests.helpers.small_head import QUERIES, build_head, feature_maps, head_config
from tests.helpers.small_segmentor import build_segmentor

SIZES = [(64, 96), (90, 75), (33, 161), (1, 200)]


def model_of(head, size):
    """A model whose backbone gives the maps of an image of this size."""
    maps = feature_maps(*size)
    return SimpleNamespace(decode_head=head, extract_feat=lambda _: maps), maps


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('region', ['block', 'pixel'])
@torch.no_grad()
def test_equals_literal_formulas(size, region, monkeypatch):
    taken = []

    def select(*args):
        taken.append(select_pixels(*args)[0])
        return taken[-1], None

    monkeypatch.setitem(high_res_attention._SELECTORS, 'pixel', select)
    head = build_head(head_config(**{'high_res_attn.region': region, 'high_res_attn.ratio': 0.3}))
    model, maps = model_of(head, size)
    recorded = record(model, torch.zeros(2, 3, *size))
    plain = []
    classes, masks = plain_decoder.forward(head, maps, taken, plain)
    assert recorded.size == size
    assert len(recorded.layers) == len(plain) == 13
    torch.testing.assert_close(recorded.class_logits, classes[-1], rtol=0, atol=1e-9)
    torch.testing.assert_close(recorded.mask_logits, masks[-1], rtol=0, atol=1e-9)
    for index, (layer, expected) in enumerate(zip(recorded.layers, plain, strict=True)):
        assert (layer.index, layer.level, layer.size) == (index, expected.level, expected.size)
        torch.testing.assert_close(layer.query_pos, expected.query_pos, rtol=0, atol=1e-9)
        for image in range(2):
            for query in range(QUERIES):
                focus = layer.focus_map(query, image).flatten()
                torch.testing.assert_close(
                    focus, expected.focus[image, query], rtol=0, atol=1e-9, msg=f'layer {index}'
                )
        mask = recorded.mask_map(layer, 3, image=1)
        torch.testing.assert_close(mask, masks[index + 1][1, 3], rtol=0, atol=1e-9)


@pytest.mark.parametrize('size', SIZES)
@torch.no_grad()
def test_regions_are_those_that_hrca_used(size):
    head = build_head(head_config(**{'high_res_attn.ratio': 0.3}))
    model, maps = model_of(head, size)
    plain = []
    plain_decoder.forward(head, maps, layers=plain)
    for layer, expected in zip(record(model, torch.zeros(2, 3, *size)).layers, plain, strict=True):
        if expected.level != 3:
            assert layer.regions is None
            continue
        assert layer.regions.shape == (2, *expected.size)
        assert torch.equal(layer.regions.flatten(1), ~expected.forbidden[:, 0])


@torch.no_grad()
def test_points_are_logits_of_positions_alone_averaged_over_heads():
    head = build_head()
    model, _ = model_of(head, (64, 96))
    for layer in record(model, torch.zeros(2, 3, 64, 96)).layers:
        attention = head.transformer_decoder.layers[layer.index].cross_attn
        query_weight, key_weight, _ = attention.attn.in_proj_weight.chunk(3)
        width = attention.embed_dims // attention.num_heads
        logits = 0
        for first in range(0, attention.embed_dims, width):
            rows = slice(first, first + width)
            query = layer.query_pos[1, 4] @ query_weight[rows].T
            keys = layer.key_pos[1] @ key_weight[rows].T
            logits = logits + keys @ query / width**0.5
        points = layer.points_map(4, image=1)
        expected = (logits / attention.num_heads).unflatten(0, layer.size)
        torch.testing.assert_close(points, expected, rtol=1e-9, atol=1e-9)


CHANGES = {
    'FASeg': {},
    'pixels': {'high_res_attn.region': 'pixel', 'high_res_attn.query_pos': 'dynamic'},
    'learned': {'positional_query': dict(type='LearnedPositionalQuery')},
    'anchors': {'positional_query': dict(type='AnchorPositionalQuery')},
}


@pytest.mark.parametrize('size', [(64, 96), (90, 75), (1, 200)])
@pytest.mark.parametrize('kind', CHANGES)
@torch.no_grad()
def test_predictions_are_the_same_bits_with_and_without(kind, size):
    model = build_segmentor(**CHANGES[kind])
    inputs = torch.randn(2, 3, *size)
    before = model.decode_head.predict_last(model.extract_feat(inputs))
    recorded = record(model, inputs)
    after = model.decode_head.predict_last(model.extract_feat(inputs))
    for class_logits, mask_logits in (before, after):
        assert torch.equal(recorded.class_logits, class_logits)
        assert torch.equal(recorded.mask_logits, mask_logits)


@torch.no_grad()
def test_it_costs_nothing_when_nobody_records(monkeypatch):
    model, inputs = build_segmentor(), torch.randn(1, 3, 64, 96)
    asked = []

    def focus_on(*_):
        asked.append(1)
        raise RuntimeError('asked')

    monkeypatch.setattr(FocusAttention, 'focus_on', focus_on)
    monkeypatch.setattr(FocusAttention, 'pointer', focus_on)
    model.predict(inputs)
    assert not asked
    with pytest.raises(RuntimeError, match='asked'):
        record(model, inputs)
    assert model.decode_head.transformer_decoder.watcher is None
    model.predict(inputs)  # and after a recording that failed
    assert len(asked) == 1


def test_other_models_are_refused():
    with pytest.raises(TypeError, match='only FASegHead and FASegPanopticHead.*got Linear'):
        mask_head_of(torch.nn.Linear(1, 1))
