"""Deformable attention with every back end, against MMCV's reference."""

import math

import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import (
    multi_scale_deformable_attn_pytorch as mmcv_formula,
)

from mmseg_faseg.models.ops.deformable_attention import (
    DeformableSelfAttention,
    Geometry,
    backends,
    choose_backend,
    table_sampling,
)
from mmseg_faseg.models.ops.deformable_attention.backends import BACKENDS
from tests.helpers.deformable import (
    HEADS,
    POINTS,
    SIZES,
    TOKENS,
    arguments,
    like_stock,
    mmcvs,
    output_and_gradients,
)
from tests.helpers.live_tensors import LiveTensors
from tests.helpers.small_head import DEVICES, build_head, feature_maps, head_config

COMPILED = pytest.param('compiled', marks=pytest.mark.compile)
EAGER = ['embedding_bag', 'grid_sample']


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('queries', [TOKENS, 1])
@pytest.mark.parametrize('chunk', [10_000, 4])
@pytest.mark.parametrize('backend', EAGER)
def test_output_and_gradients_equal_mmcvs(backend, chunk, queries, device, monkeypatch):
    monkeypatch.setattr(table_sampling, '_FORWARD_CHUNK', chunk)
    monkeypatch.setattr(table_sampling, '_BACKWARD_CHUNK', chunk)
    given = arguments(queries=queries, device=device)
    got = output_and_gradients(BACKENDS[backend], given)
    expected = output_and_gradients(mmcvs, given)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('backend', EAGER)
def test_float32_equals_mmcvs(backend):
    given = arguments(torch.float32)
    out = BACKENDS[backend](*given)
    torch.testing.assert_close(out, mmcvs(*given), rtol=0, atol=1e-5)


@pytest.mark.parametrize('place', ['border', 'corner', 'far'])
@pytest.mark.parametrize('backend', EAGER)
def test_positions_at_the_border_and_beyond(backend, place):
    """Exactly at a pixel's centre, half a pixel outside, and far from all."""
    value, geometry, positions, weights = arguments(batch=1)
    by_place = dict(border=[0.0, 1.0, 3.0], corner=[-1.0, -0.5, 4.0], far=[-1e6, 1e6, 7.5])
    positions = torch.tensor(by_place[place], dtype=torch.float64).expand_as(positions)
    out = BACKENDS[backend](value, geometry, positions, weights)
    torch.testing.assert_close(out, mmcvs(value, geometry, positions, weights))


def test_positions_that_are_no_numbers_do_not_crash():
    """A diverged model must come as far as its loss, whose error names the image."""
    value, geometry, positions, weights = arguments(batch=1)
    positions[0, 3] = math.nan
    out = BACKENDS['embedding_bag'](value, geometry, positions, weights)
    assert out[0, 3].isnan().all()
    assert out[0, :3].isfinite().all()


@pytest.mark.parametrize('backend', [*EAGER, COMPILED])
def test_module_equals_mmcvs(backend):
    torch.manual_seed(0)
    attn = MultiScaleDeformableAttention(16, HEADS, 3, POINTS, dropout=0.0, batch_first=True)
    for param in attn.parameters():
        torch.nn.init.normal_(param)
    attn = attn.double()
    tokens = torch.randn(2, TOKENS, 16, dtype=torch.float64, requires_grad=True)
    pos = torch.randn(1, TOKENS, 16, dtype=torch.float64)
    geometry = Geometry.of(SIZES, HEADS, POINTS, tokens)
    ours = like_stock(attn)
    got = ours(tokens, pos, geometry, backend)
    locations = geometry.normalised(geometry.centres)[:, 0, :, 0]
    expected = attn(
        query=tokens,
        query_pos=pos,
        reference_points=locations.expand(2, -1, -1, -1),
        spatial_shapes=torch.tensor(SIZES),
        level_start_index=torch.tensor(geometry.starts),
    )
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    weight = torch.randn_like(got)
    grads = [
        torch.autograd.grad((out * weight).sum(), [tokens, *module.parameters()])
        for out, module in ((got, ours), (expected, attn))
    ]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_geometry_is_mmdetections():
    """Centres in float32, counted from the middle of the first pixel."""
    geometry = Geometry.of(((2, 4),), 1, 1, torch.empty(0))
    torch.testing.assert_close(geometry.centres.flatten(1)[:5], torch.tensor(
        [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0]]
    ))  # fmt: skip
    locations = geometry.normalised(geometry.centres).flatten(1)
    torch.testing.assert_close(locations[5], torch.tensor([1.5 / 4, 1.5 / 2]))


@pytest.mark.parametrize('backend', EAGER)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_parameters(dtype, backend):
    """A whole model in half precision: positions stay exact, on a level where rounding would show.

    The values are smooth, so that only a wrong place gives a wrong sample.
    """
    torch.manual_seed(0)
    sizes = ((64, 96),)
    geometry = Geometry.of(sizes, HEADS, POINTS, torch.empty(0))
    places = geometry.centres[:, :, :, 0, 0].transpose(1, 2)  # (N, heads, 2)
    value = torch.cat([places / 16, -places / 16], -1)[None]
    positions = 5 + torch.rand(1, 50, 2, HEADS, 1, POINTS) * 50
    weights = torch.rand(1, 50, HEADS, 1, POINTS).softmax(-1)
    given = value, geometry, positions, weights
    expected = output_and_gradients(BACKENDS['embedding_bag'], given)
    got = output_and_gradients(
        BACKENDS[backend], (value.to(dtype), geometry, positions, weights.to(dtype))
    )
    assert [x.dtype for x in got] == [dtype, dtype, torch.float32, dtype]
    torch.testing.assert_close(got[0].float(), expected[0], rtol=0.01, atol=0.01)
    for ours in got[1:]:
        assert ours.isfinite().all()


def test_mmcvs_operator_gets_what_it_insists_on(monkeypatch):
    """Its CUDA code refuses tensors that are not contiguous."""

    class Operator:
        @staticmethod
        def apply(value, sizes, starts, locations, weights, images):
            for x in (value, sizes, starts, locations, weights):
                assert x.is_contiguous()
            assert sizes.dtype == starts.dtype == torch.int64
            assert sizes.tolist() == [list(size) for size in SIZES]
            assert starts.tolist() == [0, 12, 52]
            assert images == len(value)
            assert value.dtype == locations.dtype == weights.dtype
            return mmcv_formula(value, sizes, locations, weights)

    monkeypatch.setattr(backends, 'find_mmcv_operator', lambda: Operator)
    given = arguments()
    torch.testing.assert_close(BACKENDS['mmcv'](*given), mmcvs(*given))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_head_in_half_precision_predicts_and_trains(dtype):
    head = build_head(dtype=torch.float32).to(dtype)
    x = feature_maps(64, 96, dtype=dtype)
    class_probs, mask_logits = head.predict_masks(x)
    assert class_probs.dtype == mask_logits.dtype == torch.float32
    (class_probs.sum() + mask_logits.mean()).backward()
    assert all(p.grad.isfinite().all() for p in head.pixel_decoder.encoder.parameters())


@pytest.mark.parametrize('backend', EAGER)
def test_positions_of_any_layout(backend):
    value, geometry, positions, weights = arguments()
    expected = output_and_gradients(BACKENDS[backend], (value, geometry, positions, weights))
    permuted = positions.movedim(2, -1).contiguous().movedim(-1, 2)
    leaf = permuted.detach().requires_grad_()
    out = BACKENDS[backend](value, geometry, leaf, weights)
    torch.manual_seed(1)
    (grad,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), leaf)
    torch.testing.assert_close(grad, expected[2])


def test_no_sampled_value_is_held():
    """What MMCV stacks, C values a sample, would be 24 times the output here."""
    attn = DeformableSelfAttention(256, 8, 3, 4, batch_first=True).eval()
    sizes = ((8, 8), (16, 16), (32, 32))
    tokens = torch.randn(1, sum(h * w for h, w in sizes), 256)
    geometry = Geometry.of(sizes, 8, 4, tokens)
    with torch.no_grad(), LiveTensors() as tensors:
        attn(tokens, torch.zeros_like(tokens), geometry)
    samples = tokens.nbytes // 256 * 8 * 3 * 4  # one number for each
    assert tensors.largest <= 4 * samples  # each sample's four corners
    assert tensors.largest < tokens.nbytes * 24 / 10


def test_training_keeps_the_arguments_only():
    given = arguments(torch.float32)
    leaves = [x.clone().requires_grad_() for x in (given[0], *given[2:])]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        BACKENDS['embedding_bag'](leaves[0], given[1], *leaves[1:])
    assert sum(x.nbytes for x in kept) == sum(x.nbytes for x in leaves)


@pytest.mark.parametrize('backend', EAGER)
def test_the_config_chooses(backend):
    config = head_config(**{'pixel_decoder.deformable_backend': backend})
    head, x = build_head(config), feature_maps(64, 96)
    with torch.no_grad():
        _, got = head.predict_masks(x)
        _, expected = build_head(head_config()).predict_masks(x)
    assert head.pixel_decoder.deformable_backend == backend
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_nothing_is_compiled_unless_asked_for(monkeypatch):
    backends._compiled_sum_of_rows.cache_clear()
    monkeypatch.setattr(torch, 'compile', lambda *_, **__: pytest.fail('compiles'))
    head = build_head()
    head.predict_masks(feature_maps(64, 64))
    sum(x.sum() for x in head(feature_maps(64, 64))[1]).backward()


def test_mmcvs_operator_is_refused_on_a_cpu():
    with pytest.raises(RuntimeError, match="deformable_backend is 'mmcv'.*features are on cpu"):
        choose_backend('mmcv', torch.device('cpu'))


def test_an_export_takes_grid_sample():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = DeformableSelfAttention(16, HEADS, 3, POINTS, batch_first=True)

        def forward(self, tokens):
            geometry = Geometry.of(SIZES, HEADS, POINTS, tokens)
            return self.attn(tokens, tokens, geometry)

    module, tokens = Module().eval(), torch.randn(1, TOKENS, 16)
    program = torch.export.export(module, (tokens,))
    operators = {str(node.target) for node in program.graph.nodes if node.op == 'call_function'}
    assert any('grid_sampler' in name for name in operators), operators
    torch.testing.assert_close(program.module()(tokens), module(tokens), rtol=0, atol=1e-5)
