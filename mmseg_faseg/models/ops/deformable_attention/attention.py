"""Multi-scale deformable attention on MMCV's parameters, with a choice of how to sample."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiScaleDeformableAttention
from torch import Tensor

from .backends import BACKENDS, find_mmcv_operator
from .levels import Geometry


class DeformableSelfAttention(MultiScaleDeformableAttention):
    """MMCV's module, parameters and all, over the tokens of several levels.

    Same numbers as MMCV's, which reads the level sizes from a tensor and so makes a GPU wait.
    """

    def forward(
        self, tokens: Tensor, pos: Tensor, geometry: Geometry, backend: str = 'auto'
    ) -> Tensor:
        """Attends and adds the result to the tokens.

        Args:
            tokens: (B, N, C), the levels' tokens one level after the other.
            pos: (B or 1, N, C), their positional encoding.
            geometry: Where the tokens lie, for as many heads and points as the module has.
            backend: See :func:`choose_backend`.

        Returns:
            (B, N, C).
        """
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        query = tokens + pos
        value = self.value_proj(tokens).unflatten(-1, (heads, -1))
        weights = self.attention_weights(query).unflatten(-1, (heads, levels * points))
        weights = weights.softmax(-1).unflatten(-1, (levels, points))
        positions = _offsets(self.sampling_offsets, query)
        positions = positions.unflatten(-1, geometry.centres.shape[1:]) + geometry.centres
        sample = BACKENDS[choose_backend(backend, tokens.device)]
        out = sample(value, geometry, positions, weights)
        return tokens + self.dropout(self.output_proj(out))


def choose_backend(backend: str, device: torch.device) -> str:
    """The back end of ``backends`` to use.

    'auto' is MMCV's compiled operator on CUDA if mmcv was built with it, ``embedding_bag`` on a
    CPU, and ``grid_sample`` on CUDA without the operator, elsewhere, and in an export or trace.

    Raises:
        ValueError: There is no such back end.
        RuntimeError: MMCV's operator is asked for where it cannot run.
    """
    if backend == 'auto':
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            return 'grid_sample'
        if device.type == 'cpu':
            return 'embedding_bag'
        return 'mmcv' if device.type == 'cuda' and find_mmcv_operator() else 'grid_sample'
    check_backend(backend)
    if backend == 'mmcv' and not (device.type == 'cuda' and find_mmcv_operator()):
        raise RuntimeError(
            "deformable_backend is 'mmcv', but its operator needs a CUDA device and an mmcv built "
            f"for it, and the features are on {device}: use 'auto'"
        )
    return backend


def check_backend(backend: str) -> None:
    """Raises ValueError if there is no such back end."""
    if backend not in ('auto', *BACKENDS):
        raise ValueError(
            f'deformable_backend must be one of {["auto", *BACKENDS]}, got {backend!r}'
        )


def _offsets(linear: torch.nn.Module, query: Tensor) -> Tensor:
    """Sampling offsets (B, N, 2 heads levels points): first all x, then all y, not in pairs.

    Long stretches of one coordinate are what elementwise operations are fast at.
    """
    if type(linear) is not torch.nn.Linear:  # quantised or wrapped: only it knows its weights
        return linear(query).unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
    weight, bias = (
        x.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1) for x in (linear.weight, linear.bias)
    )
    return F.linear(query, weight, bias)
