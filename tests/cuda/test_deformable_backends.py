"""Back ends of the deformable attention on a GPU: each other, and MMCV's formula on a CPU."""

import pytest
import torch

from mmseg_faseg.models.ops.deformable_attention import DeformableSelfAttention, Geometry
from mmseg_faseg.models.ops.deformable_attention.backends import BACKENDS, find_mmcv_operator
from tests.helpers.deformable import (
    HEADS,
    POINTS,
    SIZES,
    TOKENS,
    arguments,
    mmcvs,
    output_and_gradients,
)

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
WIDTH = 16


EAGER = ['mmcv', 'embedding_bag', 'grid_sample']


@pytest.fixture(params=[*EAGER, pytest.param('compiled', marks=pytest.mark.compile)])
def backend(request):
    if request.param == 'mmcv' and find_mmcv_operator() is None:
        pytest.skip('mmcv was built without its CUDA operator')
    return request.param


def on(device, dtype, given):
    """Arguments of a back end elsewhere, as another type."""
    value, geometry, positions, weights = given
    like = torch.empty(0, device=device, dtype=dtype)
    geometry = Geometry.of(geometry.sizes, HEADS, POINTS, like)
    return value.to(like), geometry, positions.to(like), weights.to(like)


def gradients_of(device, given, backend):
    torch.manual_seed(1)  # of the CPU, where the output's gradient is drawn
    value, geometry, positions, weights = given
    leaves = [x.detach().clone().requires_grad_() for x in (value, positions, weights)]
    out = BACKENDS[backend](leaves[0], geometry, *leaves[1:])
    weight = torch.randn(out.shape, dtype=torch.float64).to(out)
    return [out, *torch.autograd.grad((out * weight).sum(), leaves)]


@pytest.mark.parametrize('queries', [TOKENS, 1])
def test_output_and_gradients_equal_mmcvs(backend, queries, device='cuda'):
    given = arguments(queries=queries)
    expected = output_and_gradients(mmcvs, given)
    got = gradients_of(device, on(device, torch.float32, given), backend)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours.cpu().double(), theirs, rtol=1e-4, atol=1e-4)


def module_and_tokens(device):
    """MMCV's module with weights of some size, its input and the geometry."""
    torch.manual_seed(0)
    attn = DeformableSelfAttention(WIDTH, HEADS, 3, POINTS, dropout=0.0, batch_first=True)
    for param in attn.parameters():
        torch.nn.init.normal_(param, std=0.3)
    tokens, pos = torch.randn(2, TOKENS, WIDTH), torch.randn(1, TOKENS, WIDTH)
    attn, tokens, pos = attn.to(device), tokens.to(device), pos.to(device)
    return attn, tokens, pos, Geometry.of(SIZES, HEADS, POINTS, tokens)


def attended(device, backend, dtype=None):
    """Output and gradients of the module, under autocast if a type is given."""
    attn, tokens, pos, geometry = module_and_tokens(device)
    leaves = [tokens.requires_grad_(), *attn.parameters()]
    with torch.autocast(device, dtype, enabled=dtype is not None):
        out = attn(tokens, pos, geometry, backend)
    torch.manual_seed(1)
    weight = torch.randn(out.shape).to(device)
    return [x.float() for x in (out, *torch.autograd.grad((out.float() * weight).sum(), leaves))]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_back_ends_agree_under_autocast(backend, dtype, device='cuda'):
    """Sampling positions keep their precision; what is rounded are values and weights."""
    reference = attended(device, 'grid_sample', dtype)
    got = attended(device, backend, dtype)
    exact = attended(device, 'grid_sample')
    for ours, theirs, unrounded in zip(got, reference, exact, strict=True):
        assert ours.isfinite().all()
        bound = 4 * torch.finfo(dtype).eps * unrounded.norm()
        assert (ours - theirs).norm() <= bound
        assert (ours - unrounded).norm() <= 4 * bound


def test_back_ends_agree(backend, device='cuda'):
    given = on(device, torch.float32, arguments())
    expected = gradients_of(device, given, 'embedding_bag')
    got = gradients_of(device, given, backend)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
