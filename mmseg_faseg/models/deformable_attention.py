"""Multi-scale deformable attention on MMCV's parameters, without waiting for the host."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiScaleDeformableAttention
from torch import Tensor

Sizes = list[tuple[int, int]]

# Queries sampled at a time: all of them at 512 x 512, a fraction where their samples get large.
_CHUNK = 8192


class Geometry(NamedTuple):
    """Where the tokens of several levels lie; made once, used by every layer.

    Attributes:
        sizes: (H_l, W_l) of each level, as plain numbers.
        centres: (N, 2), each token's own position as (x, y) in [0, 1].
        extents: (L, 1, 2), (W_l, H_l) of each level.
        shapes: (L, 2), int64, (H_l, W_l), and
        starts: (L,), int64, index of each level's first token, for MMCV's operator.
    """

    sizes: Sizes
    centres: Tensor
    extents: Tensor
    shapes: Tensor
    starts: Tensor

    @classmethod
    def of(cls, sizes: Sizes, device: torch.device) -> 'Geometry':
        """Lays out levels of these sizes, in float32 as MMDetection does."""
        centres = []
        for height, width in sizes:
            y = (torch.arange(height, device=device) + 0.5) / height
            x = (torch.arange(width, device=device) + 0.5) / width
            centres.append(torch.stack([x.repeat(height), y.repeat_interleave(width)], -1))
        extents = [float(extent) for size in sizes for extent in size[::-1]]
        return cls(
            sizes,
            torch.cat(centres),
            _filled(extents, device).view(-1, 1, 2),
            _filled([extent for size in sizes for extent in size], device).view(-1, 2),
            _filled(_starts(sizes), device),
        )


def deformable_self_attention(
    attn: MultiScaleDeformableAttention,
    tokens: Tensor,
    pos: Tensor,
    geometry: Geometry,
) -> Tensor:
    """Runs MMCV's attention module over tokens of several levels.

    Same numbers as ``attn.forward``, which reads the level sizes from a tensor and so makes a GPU
    wait.

    Args:
        attn: MMCV's module with its parameters.
        tokens: (B, N, C), the levels' tokens one level after the other.
        pos: (B or 1, N, C), their positional encoding.
        geometry: Where the tokens lie.

    Returns:
        (B, N, C), the residual added.
    """
    heads, levels, points = attn.num_heads, attn.num_levels, attn.num_points
    query = tokens + pos
    value = attn.value_proj(tokens).unflatten(-1, (heads, -1))
    offsets = attn.sampling_offsets(query).unflatten(-1, (heads, levels, points, 2))
    weights = attn.attention_weights(query).unflatten(-1, (heads, levels * points))
    weights = weights.softmax(-1).unflatten(-1, (levels, points))
    locations = geometry.centres[:, None, None, None] + offsets / geometry.extents
    out = sample_and_sum(value, geometry, locations, weights)
    return tokens + attn.dropout(attn.output_proj(out))


def sample_and_sum(value: Tensor, geometry: Geometry, locations: Tensor, weights: Tensor) -> Tensor:
    """Samples every level bilinearly (zeros outside) and sums with the attention weights.

    Args:
        value: (B, N, heads, C / heads).
        geometry: Where the N tokens lie.
        locations: (B, Q, heads, levels, points, 2), (x, y) in [0, 1].
        weights: (B, Q, heads, levels, points).

    Returns:
        (B, Q, C).
    """
    if value.is_cuda and _MMCV_OPERATOR is not None:
        return _MMCV_OPERATOR.apply(
            value.contiguous(),
            geometry.shapes,
            geometry.starts,
            locations.contiguous(),
            weights.contiguous(),
            len(value),  # images at a time
        )
    batch, _, heads, width = value.shape
    value = value.permute(0, 2, 3, 1).flatten(0, 1)
    sizes = geometry.sizes
    maps = [
        value[:, :, start : start + h * w].unflatten(-1, (h, w))
        for start, (h, w) in zip(_starts(sizes), sizes, strict=True)
    ]
    parts = zip(locations.split(_CHUNK, 1), weights.split(_CHUNK, 1), strict=True)
    out = torch.cat([_sample_part(maps, *part) for part in parts], 1)
    return out.unflatten(0, (batch, heads)).transpose(1, 2).reshape(batch, -1, heads * width)


def _sample_part(maps: list[Tensor], locations: Tensor, weights: Tensor) -> Tensor:
    """Samples maps (B heads, C / heads, H_l, W_l) for some queries, (B heads, Q, C / heads)."""
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    weights = weights.transpose(1, 2).flatten(0, 1)
    out = 0
    for level, level_map in enumerate(maps):
        sampled = F.grid_sample(level_map, grids[:, :, level], align_corners=False)
        out = out + torch.einsum('bcqp,bqp->bqc', sampled, weights[:, :, level])
    return out


def _filled(numbers: list[float] | list[int], device: torch.device) -> Tensor:
    """A vector filled on the device: made from a list it would be copied there, and waited for."""
    return torch.stack([torch.full((), number, device=device) for number in numbers])


def _starts(sizes: Sizes) -> list[int]:
    starts = [0]
    for height, width in sizes[:-1]:
        starts.append(starts[-1] + height * width)
    return starts


def _find_mmcv_operator():
    """MMCV's CUDA operator if this build of mmcv has it, else None."""
    if not torch.cuda.is_available():
        return None
    from mmcv.ops import get_compiling_cuda_version
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    compiled = get_compiling_cuda_version() != 'not available'
    return MultiScaleDeformableAttnFunction if compiled else None


_MMCV_OPERATOR = _find_mmcv_operator()
