"""Query-side positional encodings: dynamic (DFPQ), learned (Mask2Former) and anchor.

A generator is asked for a positional query once before the first layer and again after every
layer. ``needs`` says what it looks at: the last layer's 'focus', the last predicted 'masks', or
'nothing'.
"""

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import register


@register
class LearnedPositionalQuery(BaseModule):
    """The learned embedding B itself, the same at every layer, as in Mask2Former."""

    needs = 'nothing'

    def __init__(self, embed_dims: int = 256) -> None:
        super().__init__()
        self.embed_dims = embed_dims

    def forward(self, query_embed: Tensor) -> Tensor:
        """Returns ``query_embed``, (B, Q, C), as it is."""
        return query_embed


@register
class DynamicFocusPositionalQuery(BaseModule):
    """Dynamic focus-aware positional queries (FASeg, DFPQ).

    A query's position is where its own attention just looked: Q_p = h(A K_p + B), with A the
    head-averaged attention probabilities of the last layer, K_p the positional encoding of the
    tokens it attended to, B a learned embedding and h = Linear - ReLU - Linear.

    Before the first layer nothing has been attended to; A is then uniform over a region of the
    first mask prediction.

    Args:
        embed_dims (int): Width C.
        first_region (str): That region: 'background', the pixels with sigmoid < 0.5 (the released
            code, so the published weights), or 'foreground', the others (the paper).
    """

    needs = 'focus'

    def __init__(
        self,
        embed_dims: int = 256,
        first_region: str = 'background',
    ) -> None:
        super().__init__()
        if first_region not in ('background', 'foreground'):
            raise ValueError(
                f"first_region must be 'background' or 'foreground', got {first_region!r}"
            )
        self.first_region = first_region
        self.mlp = nn.Sequential(
            nn.Linear(embed_dims, embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims)
        )

    def first_focus(self, mask_logits: Tensor) -> Tensor:
        """Focus before the first layer.

        Args:
            mask_logits: First mask prediction at the first level's size, (B, Q, H_0, W_0).

        Returns:
            (B, Q, H_0 W_0), equal inside the region and 0 outside; sums to 1 where the region is
            not empty.
        """
        logits = mask_logits.flatten(2)
        region = (logits < 0) if self.first_region == 'background' else (logits >= 0)
        region = region.to(logits.dtype)
        return region / (region.sum(-1, keepdim=True) + 1e-6)

    def forward(self, query_embed: Tensor, focus: Tensor, key_pos: Tensor) -> Tensor:
        """Makes the next positional query; gradients flow through all three arguments.

        Args:
            query_embed: The learned embedding B, (B, Q, C).
            focus: A, (B, Q, HW).
            key_pos: K_p of the tokens attended to, (B or 1, HW, C).

        Returns:
            Q_p, (B, Q, C).
        """
        # In half precision the many small probabilities of a large map would be lost.
        with torch.autocast(focus.device.type, enabled=False):
            pooled = focus.to(key_pos.dtype) @ key_pos
        return self.mlp(pooled + query_embed)


@register
class AnchorPositionalQuery(BaseModule):
    """Positional queries from boxes, the paper's comparison (after DAB-DETR's anchors).

    Each of cx, cy, w, h of the box of the previous mask prediction is encoded by a sinusoid; a
    linear layer brings the four to width C. The box is not differentiated through.

    Args:
        embed_dims (int): Width C, a multiple of 4.
        temperature (float): Base of the sinusoid's wavelengths.
    """

    needs = 'masks'

    def __init__(self, embed_dims: int = 256, temperature: float = 10000.0) -> None:
        super().__init__()
        if embed_dims % 4:
            raise ValueError(f'embed_dims must be a multiple of 4, got {embed_dims}')
        self.embed_dims = embed_dims
        self.temperature = temperature
        self.proj = nn.Linear(2 * embed_dims, embed_dims)

    def forward(self, query_embed: Tensor, mask_logits: Tensor) -> Tensor:
        """Makes the next positional query.

        Args:
            query_embed: The learned embedding B, (B, Q, C); not used by anchors.
            mask_logits: The last mask prediction, (B, Q, H, W).

        Returns:
            Q_p, (B, Q, C).
        """
        encoded = self._sinusoid(boxes_of_masks(mask_logits))
        return self.proj(encoded.to(query_embed.dtype))

    def _sinusoid(self, boxes: Tensor) -> Tensor:
        """(B, Q, 4) in [0, 1] to (B, Q, 2 C): C / 2 channels a coordinate, sines then cosines."""
        pairs = self.embed_dims // 4
        exponents = torch.arange(pairs, dtype=torch.float32, device=boxes.device) / pairs
        angles = 2 * math.pi * boxes.unsqueeze(-1) / self.temperature**exponents
        return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


def boxes_of_masks(mask_logits: Tensor) -> Tensor:
    """Tight boxes around the pixels with positive logits.

    Args:
        mask_logits: (B, Q, H, W).

    Returns:
        (B, Q, 4) float32: cx, cy, w, h as shares of the image; the whole image where a mask is
        empty.
    """
    mask = mask_logits > 0
    x_start, x_end = _extent(mask.any(-2))
    y_start, y_end = _extent(mask.any(-1))
    return torch.stack(
        [(x_start + x_end) / 2, (y_start + y_end) / 2, x_end - x_start, y_end - y_start], -1
    )


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and past-the-last True of (..., N) as shares of N; 0 and 1 where there is none."""
    length = occupied.shape[-1]
    index = torch.arange(length, device=occupied.device)
    start = torch.where(occupied, index, length).amin(-1)
    end = torch.where(occupied, index + 1, 0).amax(-1)
    empty = end == 0
    start, end = start.masked_fill(empty, 0), end.masked_fill(empty, length)
    return start.float() / length, end.float() / length
