"""What a decoder layer sees: a feature level, and the masks and positions that lead there."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .mask_predictor import MaskGuide


@dataclass
class FeatureLevel:
    """What the decoder can attend to on one level.

    Attributes:
        features: Tokens (B, HW, C), without the level embedding.
        key_pos: Their positional encoding K_p, (B or 1, HW, C).
        level_embed: (C,).
        size: (H, W).
    """

    features: Tensor
    key_pos: Tensor
    level_embed: Tensor
    size: tuple[int, int]
    # Not cached properties: those of Python 3.11 hold a lock, which torch.compile cannot take.
    _value: Tensor | None = field(default=None, init=False)
    _key: Tensor | None = field(default=None, init=False)

    @property
    def value(self) -> Tensor:
        """Tokens with the level embedding, (B, HW, C); made once for all rounds, when asked for."""
        if self._value is None:
            self._value = self.features + self.level_embed
        return self._value

    @property
    def key(self) -> Tensor:
        """The same with their positional encoding, (B, HW, C)."""
        if self._key is None:
            self._key = self.value + self.key_pos
        return self._key


@dataclass
class LayerView:
    """A layer as its cross-attention and the positional queries see it.

    Cross-attention asks it what to attend to (``FocusAttention.attended``), positional queries
    where to be: ``first`` before the first layer, ``next`` after each. Masks, keys and the
    attention mask are made only when they are read.

    Attributes:
        level: The level that the layer attends to.
        coarsest: The coarsest level.
        query_embed: The learned positional embedding B, (B, Q, C).
        query_pos: The positional query Q_p of the layer, (B, Q, C); None in ``first``.
        queries: Normalised queries (B, Q, C) from which masks are predicted: those that enter the
            layer, in ``next`` those that leave it.
        predictor: Makes masks for queries.
        logit_threshold: A layer attends where mask logits are at least this.
        focus: In ``next``, where the cross-attention just looked: its probabilities averaged over
            heads, A (B, Q, HW). None if it tells none, as high-resolution attention.
        coarse_focus: A of this round's layer on the coarsest level, (B, Q, HW_0), if it was made.
        present: Which queries there are, (B, Q); all if None.
    """

    level: FeatureLevel
    coarsest: FeatureLevel
    query_embed: Tensor
    query_pos: Tensor | None
    queries: Tensor
    predictor: MaskGuide
    logit_threshold: float
    focus: Tensor | None = None
    coarse_focus: Tensor | None = None
    present: Tensor | None = None
    _level_masks: Tensor | None = field(default=None, init=False)

    @property
    def level_masks(self) -> Tensor:
        """Mask logits at the level's size, (B, Q, H, W), without gradient."""
        if self._level_masks is None:
            self._level_masks = self.predictor.guides(self.queries, self.level.size)
        return self._level_masks

    @property
    def masks(self) -> Tensor:
        """Mask logits at the finest size, (B, Q, H_3, W_3), without gradient."""
        return self.predictor.masks(self.queries).detach()

    @property
    def attn_mask(self) -> Tensor:
        """(B, Q, HW), True where a query may not attend; nowhere if it were everywhere."""
        logits = self.level_masks.flatten(2)
        best = logits.amax(-1, keepdim=True)
        threshold = torch.full_like(best, self.logit_threshold)
        return logits < threshold.masked_fill_(best < threshold, -torch.inf)
