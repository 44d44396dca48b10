"""Multi-head attention that can also report where it looked."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import Tensor

from ..ops.chunks import split
from .layer_view import LayerView


class Attended(NamedTuple):
    """What a cross-attention takes besides the query, as in ``FocusAttention.forward``.

    Attributes:
        query_pos: (B, Q, C).
        key: (B, K, C).
        value: (B, K, C).
        attn_mask: (B, 1 or Q, K) or None.
        tokens: Which of the level's those are, (B, K); all in their order if None.
    """

    query_pos: Tensor | None
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    tokens: Tensor | None = None


class FocusAttention(MultiheadAttention):
    """MMCV's ``MultiheadAttention``, parameters and all, computed without waste.

    One mask serves all heads. Attention probabilities are materialised only when the focus is
    asked for; otherwise PyTorch's fused attention runs.

    Args:
        embed_dims (int): Width C.
        num_heads (int): Number of heads; must divide C.
        **kwargs: As in :class:`mmcv.cnn.bricks.transformer.MultiheadAttention`.
    """

    reads_embed = False  # its positional query is the view's

    def __init__(self, embed_dims: int, num_heads: int, **kwargs) -> None:
        if embed_dims % num_heads:
            raise ValueError(
                f'embed_dims must be divisible by num_heads, got {embed_dims} and {num_heads}'
            )
        kwargs['batch_first'] = True
        super().__init__(embed_dims, num_heads, **kwargs)

    def attended(self, view: LayerView) -> Attended:
        """What this cross-attention attends to: the level, where the last masks allow it."""
        return Attended(view.query_pos, view.level.key, view.level.value, view.attn_mask)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        need_focus: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends and adds the result to the query.

        Args:
            query: (B, Q, C).
            key: (B, K, C), its positional encoding added.
            value: (B, K, C).
            query_pos: (B, Q, C), added to the query only inside the attention.
            attn_mask: Boolean, (B, 1 or Q, K), True where attention is forbidden. A row must leave
                something to attend to.
            need_focus: Whether to return the attention probabilities averaged over heads.

        Returns:
            The updated query (B, Q, C), and the focus A (B, Q, K) or None.
        """
        out, focus = self._attend(
            query if query_pos is None else query + query_pos, key, value, attn_mask, need_focus
        )
        return query + self.dropout_layer(self.proj_drop(out)), focus

    def focus_on(self, query: Tensor, attended: Attended) -> Tensor:
        """Where queries (B, Q, C) look, A (B, Q, K); for those who ask when ``forward`` is over."""
        if attended.query_pos is not None:
            query = query + attended.query_pos
        _, focus = self._attend(query, attended.key, attended.value, attended.attn_mask, True)
        assert focus is not None
        return focus

    def pointer(self, query_pos: Tensor) -> Tensor:
        """Where positional queries point, among the positions K_p.

        The part of the attention's logits that two positions make without any content, averaged
        over heads, is (W_q Q_p) . (W_k K_p) / (heads sqrt(C / heads)).

        Args:
            query_pos: Q_p, (B, Q, C).

        Returns:
            What gives this when multiplied with K_p, (B, Q, C).
        """
        query_weight, key_weight, _ = self.attn.in_proj_weight.chunk(3)
        scale = (self.num_heads * self.embed_dims) ** -0.5
        return F.linear(query_pos, query_weight) @ key_weight * scale

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None,
        need_focus: bool,
    ) -> tuple[Tensor, Tensor | None]:
        attn = self.attn
        weights = attn.in_proj_weight.chunk(3)
        biases = (None,) * 3 if attn.in_proj_bias is None else attn.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(x, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        if attn_mask is not None:
            attn_mask = attn_mask.unsqueeze(1)
        dropout = attn.dropout if self.training else 0.0
        if need_focus:
            out, focus = _attend_and_focus(query, key, value, attn_mask, dropout)
        else:
            focus = None
            out = F.scaled_dot_product_attention(
                query, key, value, None if attn_mask is None else ~attn_mask, dropout
            )
        return attn.out_proj(out.transpose(1, 2).flatten(2)), focus


def _attend_and_focus(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Output (B, heads, Q, d) and head-averaged probabilities (B, Q, K) of all queries.

    As many queries at a time as a chunk holds probabilities of: all of them up to 512 x 512.
    """
    bytes_per_query = key[..., 0].numel() * key.element_size()
    queries = split(query, 2, bytes_per_query)
    masks: Sequence[Tensor | None]
    if attn_mask is None or attn_mask.shape[2] == 1:
        masks = [attn_mask] * len(queries)
    else:
        masks = split(attn_mask, 2, bytes_per_query)
    outputs, focuses = [], []
    for part, mask in zip(queries, masks, strict=True):
        logits = (part * part.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if mask is not None:
            logits.masked_fill_(mask, -torch.inf)
        probabilities = logits.softmax(-1)
        focuses.append(probabilities.mean(1))
        outputs.append(F.dropout(probabilities, dropout).to(value.dtype) @ value)
    return torch.cat(outputs, 2), torch.cat(focuses, 1)
