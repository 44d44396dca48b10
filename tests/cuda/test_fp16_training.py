"""Training in float16 through MMEngine's ``AmpOptimWrapper``: losses and matching stay finite."""

import numpy as np
import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS

from mmseg_faseg.models.losses import matching
from tests.helpers.gpu_model import small_model
from tools.benchmarks.tasks import Iteration

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
ITERATIONS = 4


@pytest.fixture
def matching_costs(monkeypatch):
    """What the matching brings to the host, call by call."""
    to_host, costs = matching.to_host, []

    def recording(x):
        assert x.dtype == torch.float32
        costs.append(to_host(x))
        return costs[-1]

    monkeypatch.setattr(matching, 'to_host', recording)
    return costs


def test_iterations_in_float16(matching_costs, device='cuda'):
    measured = small_model()
    task = Iteration(measured, measured.build(device))
    model, inputs = task.model, task.inputs((128, 128), 2)
    before = [p.detach().clone() for p in model.parameters()]
    wrapper = OPTIM_WRAPPERS.get('AmpOptimWrapper')(
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4),
        clip_grad=dict(max_norm=0.01),
        dtype='float16',
        loss_scale=dict(init_scale=1024.0),
    )
    for _ in range(ITERATIONS):
        with wrapper.optim_context(model):
            losses = model.loss(*inputs)
        for name, value in losses.items():
            if 'loss' in name:
                assert value.dtype == torch.float32, name
                assert value.isfinite().all(), name
        wrapper.update_params(model.parse_losses(losses)[0])
    assert len(matching_costs) == ITERATIONS
    assert all(np.isfinite(costs).all() for costs in matching_costs)
    moved = [not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)]
    assert all(p.isfinite().all() for p in model.parameters())
    assert sum(moved) > len(moved) / 2
