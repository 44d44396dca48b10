"""Bilinear sampling of several levels and the weighted sum of the samples: four back ends.

Each takes ``value`` (B, N, heads, C / heads), the levels' tokens one level after the other; the
``geometry`` of the levels; ``positions`` (B, Q, 2, heads, levels, points), x and y in pixels of the
level; and ``weights`` (B, Q, heads, levels, points). Each returns (B, Q, C). Outside a level there
are zeros, as in MMCV's ``multi_scale_deformable_attn_pytorch``.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .levels import Geometry
from .table_sampling import TableSampling, sum_of_rows


def mmcv_operator(value: Tensor, geometry: Geometry, positions: Tensor, weights: Tensor) -> Tensor:
    """MMCV's compiled operator, for CUDA."""
    dtype = positions.dtype  # at least float32, which positions of half-precision models need
    out = find_mmcv_operator().apply(
        value.to(dtype).contiguous(),
        geometry.shapes,
        geometry.first,
        geometry.normalised(positions).contiguous(),
        weights.to(dtype).contiguous(),
        len(value),  # images at a time
    )
    return out.to(value.dtype)


@functools.cache
def find_mmcv_operator() -> Any:
    """MMCV's CUDA operator, an autograd function, if this build of mmcv has it, else None."""
    if not torch.cuda.is_available():
        return None
    from mmcv.ops import get_compiling_cuda_version
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    compiled = get_compiling_cuda_version() != 'not available'
    return MultiScaleDeformableAttnFunction if compiled else None


def grid_sample(value: Tensor, geometry: Geometry, positions: Tensor, weights: Tensor) -> Tensor:
    """PyTorch's ``grid_sample``, level by level: runs everywhere, and exporters know it."""
    batch, _, heads, width = value.shape
    dtype = positions.dtype  # at least float32, as above
    maps = value.to(dtype).permute(0, 2, 3, 1).flatten(0, 1)
    grids = (2 * geometry.normalised(positions) - 1).transpose(1, 2).flatten(0, 1)
    weights = weights.to(dtype).transpose(1, 2).flatten(0, 1)
    out: Any = 0
    for level, (start, (h, w)) in enumerate(zip(geometry.starts, geometry.sizes, strict=True)):
        level_map = maps[:, :, start : start + h * w].unflatten(-1, (h, w))
        sampled = F.grid_sample(level_map, grids[:, :, level], align_corners=False)
        # not einsum, which takes twice as long in ONNX Runtime as the sampling
        out = out + (sampled * weights[:, None, :, level]).sum(-1)  # (B heads, C / heads, Q)
    out = out.view(batch, heads * width, -1).transpose(1, 2).contiguous()
    return out.to(value.dtype)


def embedding_bag(value: Tensor, geometry: Geometry, positions: Tensor, weights: Tensor) -> Tensor:
    """PyTorch's ``embedding_bag``, which never holds a sampled value: the fastest on a CPU."""
    return TableSampling.apply(sum_of_rows, value, geometry, positions, weights)


def compiled(value: Tensor, geometry: Geometry, positions: Tensor, weights: Tensor) -> Tensor:
    """``embedding_bag`` with rows and weights in loops made by ``torch.compile``.

    Its first call for a size compiles for some ten seconds, unless PyTorch has the code cached.
    """
    return TableSampling.apply(_compiled_sum_of_rows(), value, geometry, positions, weights)


@functools.cache
def _compiled_sum_of_rows() -> Callable[..., Tensor]:
    return torch.compile(sum_of_rows)


BACKENDS = {
    'mmcv': mmcv_operator,
    'embedding_bag': embedding_bag,
    'grid_sample': grid_sample,
    'compiled': compiled,
}
