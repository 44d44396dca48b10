"""Mask logits of all predictions, as matching and losses need them.

Matching reads every mask, at few points and without a gradient. Losses need a gradient, but only
of the masks that were matched. Both kinds here answer these two questions alike.

Shapes: L predictions, B images, Q queries, C channels, N matched masks of all images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .points import SharedPoints

# From a prediction and points (P, 2) of one image to the logits there, (P, Q), without a gradient.
PointReader = Callable[[int, Tensor], Tensor]


@dataclass
class MaskTensors:
    """Mask logits that exist.

    Attributes:
        masks: L tensors (B, Q, H, W).
    """

    masks: Sequence[Tensor]

    def reader(self, image: int) -> PointReader:
        """What reads the masks of one image at points."""

        def read(layer: int, points: Tensor) -> Tensor:
            masks = self.masks[layer][image].detach()
            return SharedPoints(points, masks.shape[1:]).sample(masks.flatten(1).t().contiguous())

        return read

    def matched(self, images: Tensor, counts: Sequence[int], queries: Tensor) -> list[Tensor]:
        """Chosen masks with their gradients.

        Args:
            images: (N,), which image each mask is of, in ascending order.
            counts: How many of the N are of each image.
            queries: (L, N), which query each mask is of.

        Returns:
            L tensors (N, H, W).
        """
        return [masks[images, q] for masks, q in zip(self.masks, queries, strict=True)]

    def tensors(self) -> Sequence[Tensor]:
        """All masks: L tensors (B, Q, H, W)."""
        return self.masks


@dataclass
class MaskProduct:
    """Mask logits that are the product of mask embeddings and mask features.

    Only what is asked for is multiplied. Reading is linear too, so features are read at the points
    and multiplied there. Matched masks of all predictions are one product per image, so that the
    gradient of its features is one product as well.

    Attributes:
        embeddings: (L, B, Q, C), of the features' type.
        features: (B, C, H, W), at least float32: logits can be large.
        bias: (L, B, Q), added to every pixel of a mask.
    """

    embeddings: Tensor
    features: Tensor
    bias: Tensor

    def reader(self, image: int) -> PointReader:
        """As of ``MaskTensors``."""
        size = self.features.shape[2:]
        table = self.features[image].detach().flatten(1).t().contiguous()

        def read(layer: int, points: Tensor) -> Tensor:
            shared = SharedPoints(points, size)
            embeddings = self.embeddings[layer, image].detach()
            with _no_autocast(table):
                logits = shared.sample(table) @ embeddings.t()
                constant = shared.sample_constant().to(logits.dtype)
                return logits.addr_(constant, self.bias[layer, image].detach())

        return read

    def matched(self, images: Tensor, counts: Sequence[int], queries: Tensor) -> list[Tensor]:
        """As of ``MaskTensors``."""
        num_layers, _, num_queries = self.embeddings.shape[:3]
        layers = torch.arange(num_layers, device=queries.device)[:, None]
        rows = (layers * len(self.features) + images) * num_queries + queries
        # Image by image, so that one product makes the masks of all predictions.
        rows = torch.cat([r.flatten() for r in rows.split(list(counts), 1)])
        sizes = [num_layers * n for n in counts]
        embeddings = self.embeddings.flatten(0, 2).index_select(0, rows).split(sizes)
        bias = self.bias.flatten().index_select(0, rows).split(sizes)
        by_image = [
            _product(*operands).unflatten(0, (num_layers, -1)).unbind()
            for operands in zip(embeddings, self.features, bias, strict=True)
        ]
        return [torch.cat(masks) for masks in zip(*by_image, strict=True)]

    def tensors(self) -> Sequence[Tensor]:
        """As of ``MaskTensors``."""
        num_layers, size = len(self.embeddings), self.features.shape[2:]
        embeddings, bias = (x.transpose(0, 1).flatten(1, 2) for x in (self.embeddings, self.bias))
        with _no_autocast(self.features):
            masks = torch.baddbmm(bias.unsqueeze(-1), embeddings, self.features.flatten(2))
        return masks.view(len(masks), num_layers, -1, *size).unbind(1)


def _product(embeddings: Tensor, features: Tensor, bias: Tensor) -> Tensor:
    """(M, H, W) of embeddings (M, C), features (C, H, W) of one image and bias (M,)."""
    with _no_autocast(features):
        masks = torch.addmm(bias[:, None], embeddings, features.flatten(1))
    return masks.unflatten(1, features.shape[1:])


def _no_autocast(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)
