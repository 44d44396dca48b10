"""MMCV's attention on a GPU, whatever mmcv was compiled for."""

from types import SimpleNamespace

import pytest
import torch

from mmseg_faseg.compat import deformable_attention


@pytest.mark.parametrize(
    ('compiled_for', 'takes_operator'), [('not available', False), ('13.0', True)]
)
def test_deformable_attention_on_a_gpu_without_operator(compiled_for, takes_operator, monkeypatch):
    module = deformable_attention.multi_scale_deform_attn
    monkeypatch.setattr(module, 'IS_CUDA_AVAILABLE', True)
    monkeypatch.setattr(deformable_attention, 'get_compiling_cuda_version', lambda: compiled_for)
    operator = SimpleNamespace(
        apply=lambda value, *_: value.new_tensor(value.dtype == torch.float32)
    )
    monkeypatch.setattr(module, 'MultiScaleDeformableAttnFunction', operator)
    for _ in range(2):  # once is enough, twice does no harm
        deformable_attention.prepare_operator()
    assert module.IS_CUDA_AVAILABLE is takes_operator
    if takes_operator:
        x = torch.ones(2, dtype=torch.bfloat16)
        out = module.MultiScaleDeformableAttnFunction.apply(x, None, None, x, x, 1)
        assert out.dtype is torch.bfloat16
        assert out  # what the operator got was float32
        assert module.MultiScaleDeformableAttnFunction.operator is operator
