"""Mixed precision without a GPU."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmseg_faseg.compat.amp import MMEngineAmpOptimWrapper


def _amp_wrapper(model, **more):
    cfg = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1), **more)
    return build_optim_wrapper(model, cfg)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU: MMEngine does it')
@pytest.mark.parametrize('dtype', [None, 'float16'])
def test_amp_without_gpu_trains_in_bfloat16(dtype):
    model = torch.nn.Linear(4, 2)
    before = model.weight.detach().clone()
    wrapper = _amp_wrapper(model, loss_scale='dynamic', dtype=dtype, clip_grad=dict(max_norm=1.0))
    with wrapper.optim_context(model):
        output = model(torch.ones(3, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    # Clipped before the step, as MMEngine does.
    assert (model.weight - before).norm() <= 0.1 + 1e-6
    state = wrapper.state_dict()
    _amp_wrapper(torch.nn.Linear(4, 2)).load_state_dict(state)


def test_a_run_that_began_without_gpu_goes_on_with_one():
    state = _amp_wrapper(torch.nn.Linear(4, 2)).state_dict()
    state['loss_scaler'] = {}  # what a disabled scaler stores
    wrapper = _amp_wrapper(torch.nn.Linear(4, 2))
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', enabled=True)
    wrapper.load_state_dict(state)
    assert wrapper.loss_scaler.is_enabled()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_amp_with_gpu_is_mmengines():
    model = torch.nn.Linear(4, 2).cuda()
    wrapper = _amp_wrapper(model)
    assert isinstance(wrapper, MMEngineAmpOptimWrapper)
    assert wrapper.loss_scaler.is_enabled()
    with wrapper.optim_context(model):
        assert model(torch.ones(3, 4, device='cuda')).dtype == torch.float16
