"""The transformer decoder as its formulas are written, with everything that they materialise.

What the released code computes, in the order in which it does: the yardstick of the fast one.
Tokens are (HW, B, C), as there.
"""

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..apis import UserError
from ..models.decoders.high_res_attention import BLOCK


def check_literal(cfg: Config) -> None:
    """Checks that the formulas are those of a config's head.

    Raises:
        UserError: The head is not FASeg's in the released configuration.
    """
    head = cfg.model.decode_head
    hrca = head.get('high_res_attn') or {}
    query = (head.get('positional_query') or {}).get('type', 'DynamicFocusPositionalQuery')
    if (
        head.get('type') != 'FASegHead'
        or hrca.get('region', 'block') != 'block'
        or hrca.get('query_pos', 'learned') != 'learned'
        or not hrca
        or query != 'DynamicFocusPositionalQuery'
    ):
        raise UserError(
            'task decoder compares FASegHead as released (DFPQ, and HRCA on blocks with the '
            f'learned query) with its formulas; {cfg.filename} has another head'
        )


class LiteralDecoder:
    """Transformer decoder and predictions of a FASeg head, from its parameters.

    Args:
        head: The head, in the released configuration; see :func:`check_literal`.
        mask_threshold: A layer attends where the sigmoid of the last mask is at least this.
    """

    def __init__(self, head: nn.Module, mask_threshold: float) -> None:
        self.head = head
        self.mask_threshold = mask_threshold

    def predict_masks(
        self, mask_features: Tensor, features: list[Tensor], key_pos: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Runs all layers, with all predictions.

        Args:
            mask_features: (B, C, H_3, W_3).
            features: Of each level, coarsest first, (B, C, H_l, W_l).
            key_pos: Their K_p, (B or 1, C, H_l, W_l).

        Returns:
            Of the last prediction, class probabilities without 'no object' (B, Q, K) and mask
            logits (B, Q, H_3, W_3).
        """
        head = self.head
        batch = len(mask_features)
        sizes = [tuple(x.shape[-2:]) for x in features]
        tokens = [
            _tokens(proj(x)) + embed
            for x, proj, embed in zip(
                features, head.decoder_input_projs, head.level_embed.weight, strict=True
            )
        ]
        pos = [_tokens(x.expand(batch, -1, -1, -1)) for x in key_pos]
        query = head.query_feat.weight.unsqueeze(1).repeat(1, batch, 1)
        embed = head.query_embed.weight.unsqueeze(1).repeat(1, batch, 1)

        predictions = [self._predict(query, mask_features)]
        query_pos = self._first_query_pos(predictions[0][1], pos[0], sizes[0], embed)
        score = None
        for i, layer in enumerate(head.transformer_decoder.layers):
            level = i % len(sizes)
            if level == len(sizes) - 1:
                index = _best_blocks(score, layer.cross_attn.ratio)
                value = _blocks(tokens[level], index, sizes[level])
                key = value + _blocks(pos[level], index, sizes[level])
                out, _ = layer.cross_attn.attn(query + embed, key, value)
            else:
                mask = self._attn_mask(predictions[-1][1], sizes[level], layer)
                out, focus = layer.cross_attn.attn(
                    query + query_pos, tokens[level] + pos[level], tokens[level], attn_mask=mask
                )
            query = layer.norms[0](query + out)
            self_pos = query + query_pos
            query = layer.norms[1](query + layer.self_attn.attn(self_pos, self_pos, query)[0])
            query = layer.norms[2](layer.ffn(query))
            predictions.append(self._predict(query, mask_features))
            if level < len(sizes) - 1:
                query_pos = self._dynamic_query(focus, pos[level], embed)
            if level == 0:
                score = focus.sum(1)
        class_logits, masks = predictions[-1]
        return class_logits.softmax(-1)[..., :-1], masks

    def _predict(self, query: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, K + 1) and mask logits (B, Q, H_3, W_3)."""
        query = self.head.transformer_decoder.post_norm(query).transpose(0, 1)
        masks = torch.einsum('bqc,bchw->bqhw', self.head.mask_embed(query), mask_features)
        return self.head.cls_embed(query), masks

    def _attn_mask(self, masks: Tensor, size: tuple[int, int], layer: nn.Module) -> Tensor:
        """(B heads, Q, HW), True where attention is forbidden; a copy for each head."""
        heads = layer.cross_attn.num_heads
        masks = F.interpolate(masks, size, mode='bilinear', align_corners=False)
        forbidden = masks.sigmoid().flatten(2).unsqueeze(1).repeat(1, heads, 1, 1).flatten(0, 1)
        forbidden = forbidden < self.mask_threshold
        forbidden[forbidden.sum(-1) == forbidden.shape[-1]] = False
        return forbidden

    def _first_query_pos(
        self, masks: Tensor, pos: Tensor, size: tuple[int, int], embed: Tensor
    ) -> Tensor:
        masks = F.interpolate(masks, size, mode='bilinear', align_corners=False)
        region = masks.sigmoid().flatten(2) < 0.5
        if self.head.positional_query.first_region == 'foreground':
            region = ~region
        region = region.to(pos.dtype)
        return self._dynamic_query(region / (region.sum(-1, keepdim=True) + 1e-6), pos, embed)

    def _dynamic_query(self, focus: Tensor, pos: Tensor, embed: Tensor) -> Tensor:
        """h(A K_p + B), (Q, B, C), with the product (Q, HW, B, C) in full."""
        pooled = (focus.permute(1, 2, 0).unsqueeze(-1) * pos.unsqueeze(0)).sum(1)
        return self.head.positional_query.mlp(pooled + embed)


def _tokens(features: Tensor) -> Tensor:
    """(B, C, H, W) to (HW, B, C)."""
    return features.flatten(2).permute(2, 0, 1)


def _best_blocks(score: Tensor, ratio: float) -> Tensor:
    """The coarse tokens with the highest scores (B, HW_0), (B, k), by a full sort."""
    count = max(int(score.shape[1] * ratio), 1)
    return score.sort(1, descending=True).indices[:, :count]


def _blocks(tokens: Tensor, index: Tensor, size: tuple[int, int]) -> Tensor:
    """The 8 x 8 blocks of (HW_3, B, C) under the coarse tokens ``index``, (64 k, B, C)."""
    height, width = (length // BLOCK for length in size)
    batch, channels = tokens.shape[1:]
    blocks = tokens.reshape(height, BLOCK, width, BLOCK, batch, channels)
    blocks = blocks.permute(4, 0, 2, 1, 3, 5).reshape(batch, height * width, -1)
    chosen = blocks.gather(1, index.unsqueeze(-1).expand(-1, -1, blocks.shape[-1]))
    return chosen.view(batch, -1, channels).transpose(0, 1)
