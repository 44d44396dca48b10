"""Query-side positional encodings: dynamic (DFPQ), learned (Mask2Former) and anchor.

A new one is a subclass of :class:`PositionalQuery`, registered with
``mmseg_faseg.registry.register`` and named in ``model.decode_head.positional_query``.
"""

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import register
from .layer_view import LayerView
from .mask_boxes import boxes_of_masks


class PositionalQuery(BaseModule):
    """Where the queries are, layer by layer.

    Attributes:
        reads_focus (bool): Whether ``next`` reads ``view.focus``. Attention without it is faster.
        reads_embed (bool): Whether the learned embedding B is read; it is frozen otherwise.
    """

    reads_focus = True
    reads_embed = True

    def first(self, view: LayerView) -> Tensor:
        """The positional query of the first layer, before any layer has looked anywhere.

        Args:
            view: The first layer, of which ``focus`` and ``query_pos`` are None.

        Returns:
            Q_p, (B, Q, C).
        """
        raise NotImplementedError

    def next(self, view: LayerView) -> Tensor:
        """The positional query after a layer.

        Args:
            view: The layer that just ran.

        Returns:
            Q_p of the layers to come, (B, Q, C).
        """
        raise NotImplementedError


@register
class LearnedPositionalQuery(PositionalQuery):
    """The learned embedding B itself, the same at every layer, as in Mask2Former."""

    reads_focus = False

    def __init__(self, embed_dims: int = 256) -> None:
        super().__init__()
        self.embed_dims = embed_dims

    def first(self, view: LayerView) -> Tensor:
        """Returns B, (B, Q, C)."""
        return view.query_embed

    def next(self, view: LayerView) -> Tensor:
        """Returns B, (B, Q, C)."""
        return view.query_embed


@register
class DynamicFocusPositionalQuery(PositionalQuery):
    """Dynamic focus-aware positional queries (FASeg, DFPQ).

    A query's position is where its own attention just looked: Q_p = h(A K_p + B), with A the
    head-averaged attention probabilities of the last layer, K_p the positional encoding of the
    tokens it attended to, B a learned embedding and h = Linear - ReLU - Linear.

    Before the first layer nothing has been attended to; A is then uniform over a region of the
    first mask prediction.

    With ``mask_box`` a query knows the extent of its own mask as well: Q_p = h(A K_p + B + b), with
    b the box of the last mask, encoded as by :class:`AnchorPositionalQuery`. It tells instances
    apart that look alike, which the authors name as future work. At first b is 0.

    Args:
        embed_dims (int): Width C.
        first_region (str): That region: 'background', the pixels with sigmoid < 0.5 (the released
            code, so the published weights), or 'foreground', the others (the paper).
        mask_box (bool): Whether there is a b.
    """

    def __init__(
        self, embed_dims: int = 256, first_region: str = 'background', mask_box: bool = False
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
        self.box = None
        if mask_box:
            with torch.random.fork_rng(devices=[]):  # the other weights are as without it
                self.box = AnchorPositionalQuery(embed_dims)
            nn.init.zeros_(self.box.proj.weight)
            nn.init.zeros_(self.box.proj.bias)

    def first(self, view: LayerView) -> Tensor:
        """Pools the first level's positions over a region of the first mask prediction."""
        focus = self.first_focus(view.level_masks)
        return self(self._embed(view), focus, view.level.key_pos)

    def next(self, view: LayerView) -> Tensor:
        """Pools positions where the layer just looked; unchanged if it does not tell."""
        if view.focus is None:
            return view.query_pos  # type: ignore[return-value]  # only `first` has none
        return self(self._embed(view), view.focus, view.level.key_pos)

    def _embed(self, view: LayerView) -> Tensor:
        """B, and with ``mask_box`` the box, (B, Q, C)."""
        return view.query_embed if self.box is None else view.query_embed + self.box.next(view)

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
class AnchorPositionalQuery(PositionalQuery):
    """Positional queries from boxes, the paper's comparison (after DAB-DETR's anchors).

    Each of cx, cy, w, h of the box of the previous mask prediction is encoded by a sinusoid; a
    linear layer brings the four to width C. The box is not differentiated through.

    Args:
        embed_dims (int): Width C, a multiple of 4.
        temperature (float): Base of the sinusoid's wavelengths.
    """

    reads_focus = False
    reads_embed = False

    def __init__(self, embed_dims: int = 256, temperature: float = 10000.0) -> None:
        super().__init__()
        if embed_dims % 4:
            raise ValueError(f'embed_dims must be a multiple of 4, got {embed_dims}')
        self.embed_dims = embed_dims
        self.temperature = temperature
        self.proj = nn.Linear(2 * embed_dims, embed_dims)

    def first(self, view: LayerView) -> Tensor:
        """Encodes the boxes of the first masks."""
        return self(view.masks, view.query_embed.dtype)

    def next(self, view: LayerView) -> Tensor:
        """Encodes the boxes of the layer's masks."""
        return self(view.masks, view.query_embed.dtype)

    def forward(self, mask_logits: Tensor, dtype: torch.dtype) -> Tensor:
        """Encodes the boxes of masks.

        Args:
            mask_logits: (B, Q, H, W).
            dtype: Type of the queries.

        Returns:
            Q_p, (B, Q, C).
        """
        return self.proj(self._sinusoid(boxes_of_masks(mask_logits)).to(dtype))

    def _sinusoid(self, boxes: Tensor) -> Tensor:
        """(B, Q, 4) in [0, 1] to (B, Q, 2 C): C / 2 channels a coordinate, sines then cosines."""
        pairs = self.embed_dims // 4
        exponents = torch.arange(pairs, dtype=torch.float32, device=boxes.device) / pairs
        angles = 2 * math.pi * boxes.unsqueeze(-1) / self.temperature**exponents
        return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
