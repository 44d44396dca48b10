"""The pixel decoder's encoder: deformable self-attention over all its levels at once."""

import torch
from mmdet.models.layers import DeformableDetrTransformerEncoderLayer
from mmdet.models.layers.transformer import Mask2FormerTransformerEncoder
from torch import Tensor

from ..ops.chunks import split
from ..ops.deformable_attention import DeformableSelfAttention, Geometry
from ..ops.deformable_attention.levels import Sizes


class DeformableEncoder(Mask2FormerTransformerEncoder):
    """MMDetection's encoder, parameters and all, that never waits for a GPU.

    Encoder, layers and attention are called as modules, with tensors by position: forward hooks and
    activation checkpointing work on each.
    """

    def forward(self, tokens: Tensor, pos: Tensor, sizes: Sizes, backend: str) -> Tensor:
        """Runs all layers.

        Args:
            tokens: (B, N, C), the levels' tokens one level after the other.
            pos: (B or 1, N, C), their positional encoding.
            sizes: (H_l, W_l) of each level.
            backend: How to sample; see ``deformable_attention/backends.py``.

        Returns:
            (B, N, C).
        """
        attn = self.layers[0].self_attn
        geometry = Geometry.of(sizes, attn.num_heads, attn.num_points, tokens)
        for layer in self.layers:
            tokens = layer(tokens, pos, geometry, backend)
        return tokens


class DeformableEncoderLayer(DeformableDetrTransformerEncoderLayer):
    """Deformable self-attention and FFN, each with a residual and a norm behind it."""

    def forward(self, tokens: Tensor, pos: Tensor, geometry: Geometry, backend: str) -> Tensor:
        """Runs the layer; arguments and result as in :class:`DeformableEncoder`."""
        tokens = self.self_attn(tokens, pos, geometry, backend)
        if torch.is_grad_enabled():
            return self._feed_forward(tokens)
        # Nothing is kept for a backward pass: the hidden layer need not be there all at once.
        hidden_bytes = len(tokens) * self.ffn.feedforward_channels * tokens.element_size()
        return torch.cat([self._feed_forward(part) for part in split(tokens, 1, hidden_bytes)], 1)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return self.norms[1](self.ffn(self.norms[0](tokens)))


def take_over_encoder(encoder: Mask2FormerTransformerEncoder) -> None:
    """Gives an encoder that MMDetection built the classes above; its parts stay what they are."""
    encoder.__class__ = DeformableEncoder
    for layer in encoder.layers:
        layer.__class__ = DeformableEncoderLayer
        layer.self_attn.__class__ = DeformableSelfAttention
