"""Nothing in the decoders makes the host wait for a GPU, shown without one.

Tensors of PyTorch's meta device have shapes, but no values: whatever reads one raises. So does,
here, every tensor that is made on the host and copied to the device, as from a Python list.
"""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.helpers.small_head import build_head, feature_maps, head_config
from tests.helpers.sweep import sweep

META = torch.device('meta')
SIZES = [(64, 96), (90, 75)]  # the second has blocks of HRCA that reach beyond the image
QUERIES = ['DynamicFocusPositionalQuery', 'LearnedPositionalQuery', 'AnchorPositionalQuery']
REGIONS = ['block', 'pixel']
BACKENDS = ['auto', 'embedding_bag']  # 'auto' is grid_sample on a GPU without MMCV's operator


class HostTensor(AssertionError):  # noqa: N818  not an error of the code that raises it
    """There was a tensor on the host."""


class NoHostTensors(TorchDispatchMode):
    """Raises ``HostTensor`` where an operator takes or returns a tensor of the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        if any(x.device.type == 'cpu' for x in tensors):
            raise HostTensor(str(func))
        return out


class NoLists(TorchFunctionMode):
    """Raises ``HostTensor`` where a tensor is made from Python numbers, indices included."""

    MADE_FROM_LISTS = (torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor)
    INDEXED = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self.MADE_FROM_LISTS:
            raise HostTensor(str(func))
        if func in self.INDEXED and _has_list(args[1]):
            raise HostTensor(str(func))
        return func(*args, **(kwargs or {}))


def _has_list(index):
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list) for part in parts)


@contextmanager
def nothing_waits():
    """Raises where values of a meta tensor are read, and where host and device exchange any."""
    with pytest.MonkeyPatch.context() as patch, NoLists(), NoHostTensors():
        patch.setattr(torch, 'autocast', lambda *_, **__: nullcontext())  # not known on meta
        yield


def head_and_maps(size, backend='auto', region='block', query=QUERIES[0], **changes):
    changes |= {'pixel_decoder.deformable_backend': backend}
    if 'high_res_attn' not in changes:
        changes |= {'high_res_attn.region': region}
    config = head_config(positional_query=dict(type=query), **changes)
    maps = feature_maps(*size, dtype=torch.float32)
    return build_head(config, torch.float32).to(META), [x.to(META) for x in maps]


WAITS = {
    'item': lambda x: x.sum().item(),
    'bool': lambda x: bool(x.any()),
    'tolist': lambda x: x.tolist(),
    'nonzero': lambda x: x.nonzero(),
    'boolean index': lambda x: x[x > 0],
    'float': lambda x: float(x[0]),
    'cpu': lambda x: x.cpu(),
    'list': lambda x: torch.tensor([1.0, 2.0], device=x.device),
    'new tensor': lambda x: x.new_tensor([1.0, 2.0]),
    'array': lambda x: torch.from_numpy(np.ones(3)).to(x),
    'repeats': lambda x: x.repeat_interleave((x > 0).long()),
    'list index': lambda x: x[[0, 1]],
    'scalar of the host': lambda x: x + torch.tensor(1.0),
}


@pytest.mark.parametrize('wait', WAITS.values(), ids=WAITS.keys())
def test_what_waits_is_found(wait):
    x = torch.empty(3, device=META)
    with pytest.raises((RuntimeError, HostTensor)), nothing_waits():
        wait(x)


@pytest.mark.parametrize(
    ('backend', 'region', 'query', 'size'), sweep(BACKENDS, REGIONS, QUERIES, SIZES)
)
def test_inference(backend, region, query, size):
    head, x = head_and_maps(size, backend, region, query)
    with torch.no_grad(), nothing_waits():
        class_probs, mask_logits = head.predict_masks(x)
    assert class_probs.device == mask_logits.device == META
    assert mask_logits.shape[2:] == x[0].shape[2:]


@pytest.mark.parametrize(('backend', 'region', 'query'), sweep(BACKENDS, REGIONS, QUERIES))
def test_training(backend, region, query):
    """Forward through all predictions, and backward; the losses wait for the matching."""
    head, x = head_and_maps(SIZES[1], backend, region, query)
    head.train()
    with nothing_waits():
        class_logits, mask_logits = head(x)
        sum(p.square().mean() for p in class_logits + mask_logits).backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert len(gradients) > len(list(head.parameters())) / 2
    assert all(grad.device == META for grad in gradients)


def test_mask2former():
    changes = dict(
        num_transformer_feat_level=3,
        high_res_attn=None,
        positional_encoding=dict(num_feats=16, normalize=True),
    )
    head, x = head_and_maps(SIZES[0], query='LearnedPositionalQuery', **changes)
    with torch.no_grad(), nothing_waits():
        head.predict_masks(x)
