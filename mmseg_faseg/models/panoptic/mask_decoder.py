"""The mask decoder of Panoptic SegFormer: masks are where the queries attend."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

_EPS = 1e-6  # of its layer norms


class MaskDecoder(BaseModule):
    """Layers of attention to the encoder's tokens, whose logits become masks.

    `Panoptic SegFormer <https://arxiv.org/abs/2109.03814>`_ (CVPR 2022), section 3.4. After the
    layers one more attention, which only makes masks, gives the final ones.

    Args:
        num_layers (int): Number of layers.
        embed_dims (int): Width C.
        num_heads (int): Number of heads; must divide C.
        num_levels (int): Number of levels that the tokens come from.
        self_attention (bool): Whether queries attend to each other first: in the decoder of stuff.
        init_cfg (dict, optional): MMEngine's initialisation.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        num_layers: int,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 3,
        self_attention: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ValueError(
                f'embed_dims must be divisible by num_heads, got {embed_dims} and {num_heads}'
            )
        self.num_levels = num_levels
        size = (embed_dims, num_heads, num_levels)
        self.layers = ModuleList(MaskDecoderLayer(*size, self_attention) for _ in range(num_layers))
        self.last_attn = MaskAttention(*size)

    def init_weights(self) -> None:
        """Xavier; weights that add up to a mask are positive, so that its ReLU is alive."""
        super().init_weights()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, MaskAttention):
                module.mask_proj.weight.data.abs_()

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_pos: Tensor | None = None,
        all_masks: bool = True,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Decodes queries.

        Args:
            query: Content queries, (B, Q, C).
            memory: The encoder's tokens, level by level, the largest first, (B, N, C).
            sizes: (H, W) of each level.
            query_pos: Positional queries, (B, Q, C), added before every layer and the last masks.
            all_masks: Whether layers make masks, too; they are only needed in training.

        Returns:
            Queries after each layer, (B, Q, C), and masks, (B, Q, H, W) at the size of the largest
            level and at least 0: of each layer if ``all_masks``, then the final ones.
        """
        queries, masks = [], []
        for layer in self.layers:
            query = query if query_pos is None else query + query_pos
            query, logits = layer(query, memory, all_masks)
            queries.append(query)
            if logits is not None:
                masks.append(layer.cross_attn.masks(logits, sizes))
        query = query if query_pos is None else query + query_pos
        masks.append(self.last_attn.masks(self.last_attn.logits(query, memory), sizes))
        return queries, masks


class MaskDecoderLayer(BaseModule):
    """Attention among queries (of stuff), attention to the tokens, and a feed-forward network.

    Args:
        embed_dims: Width C.
        num_heads: Number of heads.
        num_levels: Number of levels that the tokens come from.
        self_attention: Whether there is the first.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, num_levels: int, self_attention: bool
    ) -> None:
        super().__init__()
        self.self_attn = self.self_norm = None
        if self_attention:
            self.self_attn = nn.MultiheadAttention(embed_dims, num_heads, batch_first=True)
            self.self_norm = nn.LayerNorm(embed_dims, _EPS)
        self.cross_attn = ValueAttention(embed_dims, num_heads, num_levels)
        self.cross_norm = nn.LayerNorm(embed_dims, _EPS)
        self.ffn = FFN(embed_dims, 4 * embed_dims, act_cfg=dict(type='GELU'))
        self.ffn_norm = nn.LayerNorm(embed_dims, _EPS)

    def forward(
        self, query: Tensor, memory: Tensor, keep_logits: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (B, Q, C) after the layer, and attention logits (B, heads, Q, N) if kept."""
        if self.self_attn is not None and self.self_norm is not None:
            attended, _ = self.self_attn(query, query, query, need_weights=False)
            query = self.self_norm(query + attended)
        attended, logits = self.cross_attn(query, memory, keep_logits)
        query = self.cross_norm(query + attended)
        return self.ffn_norm(self.ffn(query)), logits


class MaskAttention(BaseModule):
    """Attention logits as masks, without values.

    Args:
        embed_dims: Width C.
        num_heads: Number of heads.
        num_levels: Number of levels that the tokens come from.
    """

    def __init__(self, embed_dims: int, num_heads: int, num_levels: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_proj = nn.Linear(embed_dims, embed_dims)
        self.key_proj = nn.Linear(embed_dims, embed_dims)
        self.level_projs = ModuleList(nn.Linear(num_heads, num_heads) for _ in range(num_levels))
        self.mask_proj = nn.Linear(num_levels * num_heads, 1)

    def logits(self, query: Tensor, memory: Tensor) -> Tensor:
        """Of queries (B, Q, C) and tokens (B, N, C): (B, heads, Q, N)."""
        query, key = self._heads(self.query_proj(query)), self._heads(self.key_proj(memory))
        return query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5

    def masks(self, logits: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Masks (B, Q, H, W) at the size of the largest level, the first, from logits.

        The heads of each level pass a linear layer and a ReLU; smaller levels are resized; all
        heads of all levels pass another one.
        """
        batch, _, queries = logits.shape[:3]
        levels = []
        by_level = logits.split([height * width for height, width in sizes], -1)
        for proj, size, own in zip(self.level_projs, sizes, by_level, strict=True):
            values = proj(own.permute(0, 2, 3, 1)).relu()  # (B, Q, HW, heads)
            values = values.flatten(0, 1).transpose(1, 2).unflatten(2, size)
            if size != sizes[0]:
                values = F.interpolate(values, sizes[0], mode='bilinear', align_corners=False)
            levels.append(values)
        stacked = torch.cat(levels, 1).permute(0, 2, 3, 1)  # (BQ, H, W, levels x heads)
        return self.mask_proj(stacked).relu()[..., 0].unflatten(0, (batch, queries))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, heads, N, C / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class ValueAttention(MaskAttention):
    """The same with values, as layers have it."""

    def __init__(self, embed_dims: int, num_heads: int, num_levels: int) -> None:
        super().__init__(embed_dims, num_heads, num_levels)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.out_proj = nn.Linear(embed_dims, embed_dims)

    def forward(
        self, query: Tensor, memory: Tensor, keep_logits: bool
    ) -> tuple[Tensor, Tensor | None]:
        """What queries (B, Q, C) take from tokens (B, N, C), and the logits if they are kept."""
        value = self._heads(self.value_proj(memory))
        if keep_logits:
            logits = self.logits(query, memory)
            attended = logits.softmax(-1) @ value
        else:
            logits = None
            queries, keys = self._heads(self.query_proj(query)), self._heads(self.key_proj(memory))
            attended = F.scaled_dot_product_attention(queries, keys, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), logits
