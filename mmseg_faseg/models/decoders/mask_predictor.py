"""Predicts masks from queries, at any size."""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskGuide(Protocol):
    """What the decoder asks: where may these queries attend?"""

    def masks(self, queries: Tensor) -> Tensor:
        """Mask logits (B, Q, H, W) of queries (B, Q, C), at the finest size."""

    def guides(self, queries: Tensor, size: tuple[int, int]) -> Tensor:
        """Mask logits (B, Q, h, w) of another size, without gradient."""


class MaskPredictor:
    """Mask logits of queries: mask embeddings times mask features (Mask2Former).

    Mask2Former applies a 1x1 convolution, ``mask_feature``, to the finest features. Applied to the
    embeddings instead it gives the same masks without a second map of that size. Products are made
    outside autocast: logits can be large.

    Args:
        mask_embed: The network from queries to mask embeddings.
        mask_feature: The 1x1 convolution.
        features: The finest features, (B, C, H, W).
    """

    def __init__(self, mask_embed: nn.Module, mask_feature: nn.Conv2d, features: Tensor) -> None:
        self.mask_embed = mask_embed
        self.mask_feature = mask_feature
        self.features = features
        self._resized: list[Tensor] = []

    def embed(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """What the features are multiplied with, (..., C), and what is added, (...)."""
        dtype = self.features.dtype
        embedding = self.mask_embed(queries).to(dtype)
        with torch.autocast(queries.device.type, enabled=False):
            bias: Any = self.mask_feature.bias
            weight = self.mask_feature.weight.flatten(1).to(dtype)
            return embedding @ weight, embedding @ bias.to(dtype)

    def masks(self, queries: Tensor) -> Tensor:
        """Mask logits (B, Q, H, W), channels last, of queries (B, Q, C)."""
        return self._product(queries, self.features)

    def guides(self, queries: Tensor, size: tuple[int, int]) -> Tensor:
        """Mask logits (B, Q, h, w) of another size, for attention: they carry no gradient.

        Resizing is linear, so the features are resized, once per size, in place of every mask.
        """
        # Detached afterwards: under autocast, weights cast without gradient would be cached.
        return self._product(queries, self._features_at(size)).detach()

    def _features_at(self, size: tuple[int, int]) -> Tensor:
        # Searched, not looked up: in an export for all sizes they have no hash.
        for features in self._resized:
            if features.shape[2:] == size:
                return features
        self._resized.append(
            F.interpolate(self.features.detach(), size, mode='bilinear', align_corners=False)
        )
        return self._resized[-1]

    def _product(self, queries: Tensor, features: Tensor) -> Tensor:
        embedding, bias = self.embed(queries)
        with torch.autocast(features.device.type, enabled=False):
            logits = torch.baddbmm(
                bias.unsqueeze(1), features.flatten(2).transpose(1, 2), embedding.transpose(1, 2)
            )
        return logits.transpose(1, 2).unflatten(2, features.shape[2:])
