"""The schedule: which level, which mask and which positional query, layer by layer."""

import copy
import math
from dataclasses import replace

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks.transformer import FFN
from mmdet.models.layers import (
    Mask2FormerTransformerDecoder,
    Mask2FormerTransformerDecoderLayer,
)
from mmengine.model import ModuleList
from torch import Tensor

from ...registry import MODELS
from .focus_attention import FocusAttention
from .layer_run import LayerRun, Watcher
from .layer_view import FeatureLevel, LayerView
from .mask_predictor import MaskGuide
from .positional_query import PositionalQuery


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
        self,
        query: Tensor,
        self_pos: Tensor,
        cross_pos: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        need_focus: bool = False,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the layer.

        Arguments go by position: MMEngine's activation checkpointing passes no others on.

        Args:
            query: (B, Q, C).
            self_pos: Positional query of the self-attention, (B, Q, C).
            cross_pos: Positional query of the cross-attention, (B, Q, C).
            key: What the cross-attention attends to, (B, K, C); the same below.
            value: (B, K, C).
            attn_mask: True where attention is forbidden, (B, 1 or Q, K).
            need_focus: Whether to return where the cross-attention looked.
            hidden: True where a query must not see another in the self-attention, (B, Q, Q).

        Returns:
            The updated query (B, Q, C), and the focus of the cross-attention or None.
        """
        query, focus = self.cross_attn(query, key, value, cross_pos, attn_mask, need_focus)
        query = self.norms[0](query)
        query, _ = self.self_attn(query, query + self_pos, query, self_pos, hidden)
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

    Attributes:
        watcher: Is told of every layer that ran, if there is one. It changes no prediction.
    """

    watcher: Watcher | None = None

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
        positional_query: PositionalQuery,
        predictor: MaskGuide,
        present: Tensor | None = None,
    ) -> list[Tensor]:
        """Runs all layers.

        Args:
            query: Content queries, (B, Q, C).
            query_embed: Learned positional embedding B, (B, Q, C).
            levels: What to attend to, coarsest first.
            positional_query: Says where the queries are.
            predictor: Makes the masks within which the layers attend.
            present: False where there is no query, (B, Q): the others do not see it, and it chooses
                no regions. All are there if None.

        Returns:
            The normalised queries (B, Q, C) before the first and after each layer, from which
            classes and masks are predicted.
        """
        outputs = [self.post_norm(query)]
        view = LayerView(
            level=levels[0],
            coarsest=levels[0],
            query_embed=query_embed,
            query_pos=None,
            queries=outputs[0],
            predictor=predictor,
            logit_threshold=self.logit_threshold,
            present=present,
        )
        hidden = None if present is None else _hidden(present)
        view.query_pos = positional_query.first(view)
        focus = None
        for i, layer in enumerate(self.layers):
            if i:
                level = levels[i % self.num_levels]
                view = _next_view(view, outputs[-1], focus, positional_query, level)
            attended = layer.cross_attn.attended(view)
            need_focus = self._needs_focus(i, positional_query)
            entered = query
            query, focus = layer(query, view.query_pos, *attended[:4], need_focus, hidden)
            outputs.append(self.post_norm(query))
            if self.watcher is not None:
                at = i, i % self.num_levels
                self.watcher(LayerRun(*at, layer, view, entered, attended, focus, outputs[-1]))
        return outputs

    @property
    def reads_embed(self) -> bool:
        """Whether a layer reads the learned embedding B whatever the positional query is."""
        return any(layer.cross_attn.reads_embed for layer in self.layers)

    def _needs_focus(self, i: int, positional_query: PositionalQuery) -> bool:
        """Whether anything after layer i uses its focus: the next query or this round's HRCA."""
        if i + 1 == self.num_layers:
            return False
        chooses_regions = (
            self.high_res_attn is not None
            and i % self.num_levels == 0
            and i + self.num_levels <= self.num_layers
        )
        return positional_query.reads_focus or chooses_regions


def _hidden(present: Tensor) -> Tensor:
    """(B, Q, Q), True where a query must not see another; each sees itself, so no row is empty."""
    itself = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
    return ~(present.unsqueeze(1) | itself)


def _next_view(
    view: LayerView,
    queries: Tensor,
    focus: Tensor | None,
    positional_query: PositionalQuery,
    level: FeatureLevel,
) -> LayerView:
    """The view of the layer on ``level`` that follows one which made ``queries`` and ``focus``."""
    coarse_focus = focus if view.level is view.coarsest else view.coarse_focus
    ran = replace(view, queries=queries, focus=focus, coarse_focus=coarse_focus)
    return replace(ran, level=level, query_pos=positional_query.next(ran), focus=None)
