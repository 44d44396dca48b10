"""The schedule: which level, which mask and which positional query, layer by layer."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.transformer import FFN
from mmdet.models.layers import (
    Mask2FormerTransformerDecoder,
    Mask2FormerTransformerDecoderLayer,
)
from mmengine.model import ModuleList
from torch import Tensor, nn

from ...registry import MODELS
from .focus_attention import FocusAttention
from .high_res_attention import HighResolutionCrossAttention

# (normalised queries, level or None) -> mask logits; see FASegTransformerDecoder.forward
PredictMasks = Callable[[Tensor, int | None], Tensor]


class FeatureLevel(NamedTuple):
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


class FASegDecoderLayer(Mask2FormerTransformerDecoderLayer):
    """Cross-attention, self-attention and FFN, each with a residual and a norm behind it.

    Takes MMDetection's layer config and has its parameter names.

    Args:
        high_res_attn (dict, optional): Config of a cross-attention to take in place of the masked
            one.
        **layer_cfg: As in :class:`mmdet.models.layers.Mask2FormerTransformerDecoderLayer`.
    """

    def __init__(self, *, high_res_attn: dict | None = None, **layer_cfg) -> None:
        self.high_res_attn = high_res_attn
        super().__init__(**copy.deepcopy(layer_cfg))

    def _init_layers(self) -> None:
        self.self_attn = FocusAttention(**self.self_attn_cfg)
        if self.high_res_attn is None:
            self.cross_attn = FocusAttention(**self.cross_attn_cfg)
        else:
            self.cross_attn = MODELS.build({**self.cross_attn_cfg, **self.high_res_attn})
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = FFN(**self.ffn_cfg)
        self.norms = ModuleList(
            build_norm_layer(self.norm_cfg, self.embed_dims)[1] for _ in range(3)
        )

    def forward(
        self, query: Tensor, query_pos: Tensor, cross_attn_inputs: dict
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the layer.

        Args:
            query: (B, Q, C).
            query_pos: Positional query of the self-attention, (B, Q, C).
            cross_attn_inputs: What ``cross_attn`` takes besides the query.

        Returns:
            The updated query (B, Q, C), and the focus of the cross-attention or None.
        """
        query, focus = self.cross_attn(query, **cross_attn_inputs)
        query = self.norms[0](query)
        query, _ = self.self_attn(query, query + query_pos, query, query_pos)
        query = self.norms[1](query)
        return self.norms[2](self.ffn(query)), focus


class FASegTransformerDecoder(Mask2FormerTransformerDecoder):
    """Layers that visit the levels in turn, coarsest first.

    Layer i attends to level i modulo their number: where the last predicted mask allows it, or, on
    the last level if ``high_res_attn`` is given, to the regions that the round's first layer
    looked at.

    Args:
        num_levels (int): Number of levels.
        mask_threshold (float): A layer attends where the sigmoid of the mask is at least this.
        high_res_attn (dict, optional): Config of the last level's cross-attention; it is masked
            like any other when None.
        **kwargs: As in :class:`mmdet.models.layers.Mask2FormerTransformerDecoder`
            (``num_layers``, ``layer_cfg``, ...).
    """

    def __init__(
        self,
        num_levels: int,
        mask_threshold: float,
        high_res_attn: dict | None = None,
        **kwargs,
    ) -> None:
        if not 0 < mask_threshold < 1:
            raise ValueError(f'mask_threshold must lie in (0, 1), got {mask_threshold}')
        if high_res_attn is not None and num_levels != 4:
            raise ValueError(
                'high_res_attn attends to the last of num_transformer_feat_level=4 levels, got '
                f'{num_levels}: set high_res_attn=None'
            )
        if kwargs['num_layers'] < num_levels:
            raise ValueError(
                f'transformer_decoder.num_layers must be at least the number of levels, '
                f'{num_levels}, got {kwargs["num_layers"]}'
            )
        self.num_levels = num_levels
        self.high_res_attn = high_res_attn
        super().__init__(**kwargs)
        # sigmoid(x) < t where x < log(t / (1 - t))
        self.logit_threshold = math.log(mask_threshold / (1 - mask_threshold))

    def _init_layers(self) -> None:
        last = self.num_levels - 1
        self.layers = ModuleList(
            FASegDecoderLayer(
                **self.layer_cfg,
                high_res_attn=self.high_res_attn if i % self.num_levels == last else None,
            )
            for i in range(self.num_layers)
        )
        self.embed_dims = self.layers[0].embed_dims
        self.post_norm = build_norm_layer(self.post_norm_cfg, self.embed_dims)[1]

    def forward(
        self,
        query: Tensor,
        query_embed: Tensor,
        levels: list[FeatureLevel],
        positional_query: nn.Module,
        predict_masks: PredictMasks,
    ) -> list[Tensor]:
        """Runs all layers.

        Args:
            query: Content queries, (B, Q, C).
            query_embed: Learned positional embedding B, (B, Q, C).
            levels: What to attend to, coarsest first.
            positional_query: Generator of positional queries.
            predict_masks: Takes normalised queries (B, Q, C) and the index of a level, or None for
                the finest masks; returns logits (B, Q, H, W) without gradient.

        Returns:
            The normalised queries (B, Q, C) before the first and after each layer, from which
            classes and masks are predicted.
        """
        outputs = [self.post_norm(query)]
        masks = predict_masks(outputs[0], 0)
        query_pos = _first_query_pos(
            positional_query, query_embed, masks, levels[0], predict_masks, outputs[0]
        )
        tokens = {}
        coarse_focus = None
        for i, layer in enumerate(self.layers):
            index = i % self.num_levels
            level = levels[index]
            if isinstance(layer.cross_attn, HighResolutionCrossAttention):
                inputs = dict(
                    **level._asdict(),
                    focus=coarse_focus,
                    coarse_size=levels[0].size,
                    query_pos=query_pos if layer.cross_attn.query_pos == 'dynamic' else query_embed,
                )
            else:
                if index not in tokens:
                    value = level.features + level.level_embed
                    tokens[index] = dict(key=value + level.key_pos, value=value)
                if i:
                    masks = predict_masks(outputs[-1], index)
                inputs = dict(
                    **tokens[index],
                    query_pos=query_pos,
                    attn_mask=self._attn_mask(masks),
                    need_focus=self._needs_focus(i, positional_query),
                )
            query, focus = layer(query, query_pos, inputs)
            outputs.append(self.post_norm(query))
            if index == 0:
                coarse_focus = focus
            if positional_query.needs == 'focus' and focus is not None:
                query_pos = positional_query(query_embed, focus, level.key_pos)
            elif positional_query.needs == 'masks' and i + 1 < self.num_layers:
                query_pos = positional_query(query_embed, predict_masks(outputs[-1], None))
        return outputs

    def _attn_mask(self, masks: Tensor) -> Tensor:
        """(B, Q, HW), True where a query may not attend; nowhere if it were everywhere."""
        logits = masks.flatten(2)
        best = logits.amax(-1, keepdim=True)
        threshold = torch.full_like(best, self.logit_threshold)
        return logits < threshold.masked_fill_(best < threshold, -torch.inf)

    def _needs_focus(self, i: int, positional_query: nn.Module) -> bool:
        """Whether anything after layer i uses its focus: the next query or this round's HRCA."""
        if i + 1 == self.num_layers:
            return False
        chooses_regions = (
            self.high_res_attn is not None
            and i % self.num_levels == 0
            and i + self.num_levels <= self.num_layers
        )
        return positional_query.needs == 'focus' or chooses_regions


def _first_query_pos(
    positional_query: nn.Module,
    query_embed: Tensor,
    masks: Tensor,
    level: FeatureLevel,
    predict_masks: PredictMasks,
    query: Tensor,
) -> Tensor:
    """The positional query before any layer has looked anywhere, (B, Q, C)."""
    if positional_query.needs == 'focus':
        return positional_query(query_embed, positional_query.first_focus(masks), level.key_pos)
    if positional_query.needs == 'masks':
        return positional_query(query_embed, predict_masks(query, None))
    return positional_query(query_embed)
