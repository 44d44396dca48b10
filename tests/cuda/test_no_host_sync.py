"""On a GPU the host never waits inside the decoders, so that it can queue work ahead.

MMCV's own operator is excepted: it runs outside the check, and so does its backward pass.
"""

from contextlib import contextmanager

import pytest
import torch

from mmseg_faseg.models.ops.deformable_attention import backends
from tests.helpers.gpu_model import BACKEND, small_model
from tests.helpers.small_head import build_head, feature_maps, head_config
from tools.benchmarks.tasks import Segmentor

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
SIZES = [(64, 96), (90, 75)]  # the second has blocks of HRCA that reach beyond the image
QUERIES = ['DynamicFocusPositionalQuery', 'LearnedPositionalQuery', 'AnchorPositionalQuery']


@contextmanager
def waiting(mode):
    """Sets what PyTorch does where the host waits for the GPU: 'error' or 'default'."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def head_of(device, backend='grid_sample', query=QUERIES[0], region='block'):
    changes = {'pixel_decoder.deformable_backend': backend, 'high_res_attn.region': region}
    config = head_config(positional_query=dict(type=query), **changes)
    return build_head(config, torch.float32).to(device)


def maps(size, device):
    return [x.to(device) for x in feature_maps(*size, dtype=torch.float32)]


def test_the_check_finds_what_waits(device='cuda'):
    x = torch.ones(3, device=device)
    for wait in (lambda: x.sum().item(), lambda: x[x > 0], lambda: x.new_tensor([1.0, 2.0])):
        with waiting('error'), pytest.raises(RuntimeError, match='synchroniz'):
            wait()


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('query', QUERIES)
@pytest.mark.parametrize('region', ['block', 'pixel'])
@pytest.mark.parametrize('backend', ['grid_sample', 'embedding_bag'])
def test_inference(backend, region, query, size, device='cuda'):
    head, x = head_of(device, backend, query, region), maps(size, device)
    with torch.no_grad():
        head.predict_masks(x)  # handles and workspaces
        with waiting('error'):
            head.predict_masks(x)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_inference_under_autocast(dtype, device='cuda'):
    head, x = head_of(device), maps(SIZES[0], device)
    with torch.no_grad(), torch.autocast(device, dtype):
        head.predict_masks(x)
        with waiting('error'):
            head.predict_masks(x)


@pytest.mark.parametrize('query', QUERIES)
@pytest.mark.parametrize('region', ['block', 'pixel'])
@pytest.mark.parametrize('backend', ['grid_sample', 'embedding_bag'])
def test_training(backend, region, query, device='cuda'):
    """Forward through all predictions, and backward; the losses wait for the matching."""
    head, x = head_of(device, backend, query, region).train(), maps(SIZES[0], device)

    def iteration():
        class_logits, mask_logits = head(x)
        sum(p.square().mean() for p in class_logits + mask_logits).backward()

    iteration()
    head.zero_grad()
    with waiting('error'):
        iteration()


def test_all_but_mmcvs_operator(monkeypatch, device='cuda'):
    operator = backends.find_mmcv_operator()
    if operator is None:
        pytest.skip('mmcv was built without its CUDA operator')

    class Unchecked:
        @staticmethod
        def apply(*args):
            with waiting('default'):
                return operator.apply(*args)

    monkeypatch.setattr(backends, 'find_mmcv_operator', lambda: Unchecked)
    head, x = head_of(device, 'mmcv'), maps(SIZES[0], device)
    for forward in (head.predict_masks, head.forward):
        forward(x)
        with waiting('error'):
            forward(x)


def test_from_image_to_class_map(device='cuda'):
    """Backbone and class map do not wait either: the evaluator is the first."""
    measured = small_model({BACKEND: 'grid_sample'})
    task = Segmentor(measured, measured.build(device))
    inputs = task.inputs((96, 128), 2)
    task(inputs)
    with waiting('error'):
        samples = task(inputs)
    assert [sample.pred_sem_seg.data.shape for sample in samples] == [(1, 96, 128)] * 2
