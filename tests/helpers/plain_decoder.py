"""FASeg's transformer decoder written as METHOD describes it: every product and mask in full."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Layer(NamedTuple):
    """What a layer did: its level, size, focus (B, Q, HW), what it may see, positions."""

    level: int
    size: tuple[int, int]
    focus: Tensor
    forbidden: Tensor
    query_pos: Tensor
    key_pos: Tensor


def forward(
    head, x, taken: list[Tensor] = (), layers: list[Layer] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """All class and mask logits of a head, from its parameters.

    ``taken`` holds the pixels that the fast path took in each round: at the border of an image
    many have the same score, and which of those is taken is open. ``layers`` is filled.
    """
    taken = iter(taken)
    finest, features, key_pos = head.pixel_decoder(x)
    mask_features = head.pixel_decoder.mask_feature(finest)
    decoder, generator = head.transformer_decoder, head.positional_query
    batch = len(mask_features)
    query = head.query_feat.weight.expand(batch, -1, -1)
    embed = head.query_embed.weight.expand(batch, -1, -1)
    tokens = [
        f.flatten(2).transpose(1, 2) + e
        for f, e in zip(features, head.level_embed.weight, strict=True)
    ]
    pos = [p.expand(batch, -1, -1, -1).flatten(2).transpose(1, 2) for p in key_pos]
    sizes = [f.shape[-2:] for f in features]
    predictions = [predict(head, query, mask_features)]

    logits = F.interpolate(predictions[0][1], sizes[0], mode='bilinear').flatten(2)
    region = logits.sigmoid() < 0.5
    if generator.first_region == 'foreground':
        region = ~region
    region = region.to(logits)
    query_pos = dynamic_query(
        generator, region / (region.sum(-1, keepdim=True) + 1e-6), pos[0], embed
    )
    coarse = None
    for i, layer in enumerate(decoder.layers):
        level = i % 4
        if level == 3:
            hidden = ~chosen_tokens(layer.cross_attn, coarse, sizes, taken)
            forbidden = hidden[:, None].expand(-1, query.shape[1], -1)
            own_pos = query_pos if layer.cross_attn.query_pos == 'dynamic' else embed
        else:
            masks = F.interpolate(predictions[-1][1], sizes[level], mode='bilinear').flatten(2)
            forbidden = masks.sigmoid() < 0.15
            forbidden = forbidden & ~forbidden.all(-1, keepdim=True)
            own_pos = query_pos
        out, focus = attention(
            layer.cross_attn, query + own_pos, tokens[level] + pos[level], tokens[level], forbidden
        )
        if layers is not None:
            size = tuple(sizes[level])
            layers.append(Layer(level, size, focus, forbidden, own_pos, pos[level]))
        query = layer.norms[0](query + out)
        out, _ = attention(layer.self_attn, query + query_pos, query + query_pos, query)
        query = layer.norms[1](query + out)
        query = layer.norms[2](layer.ffn(query))
        predictions.append(predict(head, query, mask_features))
        if level != 3:
            query_pos = dynamic_query(generator, focus, pos[level], embed)
        if level == 0:
            coarse = focus
    return [p[0] for p in predictions], [p[1] for p in predictions]


def predict(head, query: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
    query = head.transformer_decoder.post_norm(query)
    masks = torch.einsum('bqc,bchw->bqhw', head.mask_embed(query), mask_features)
    return head.cls_embed(query), masks


def dynamic_query(generator, focus: Tensor, pos: Tensor, embed: Tensor) -> Tensor:
    return generator.mlp((focus[..., None] * pos[:, None]).sum(2) + embed)


def attention(module, query, key, value, forbidden=None) -> tuple[Tensor, Tensor]:
    if forbidden is not None:
        forbidden = forbidden.repeat_interleave(module.num_heads, 0)
    out, focus = module.attn(*(x.transpose(0, 1) for x in (query, key, value)), attn_mask=forbidden)
    return out.transpose(0, 1), focus


def chosen_tokens(hrca, coarse_focus: Tensor, sizes, taken) -> Tensor:
    """(B, HW_3), True where HRCA may attend, token by token."""
    (h0, w0), (h3, w3) = sizes[0], sizes[3]
    k = max(int(h0 * w0 * hrca.ratio), 1)
    score = coarse_focus.sum(1)
    chosen = torch.zeros(len(score), h3, w3, dtype=torch.bool, device=score.device)
    if hrca.region == 'pixel':
        fine = F.interpolate(score.view(-1, 1, h0, w0), (h3, w3), mode='bilinear').flatten(1)
        chosen = chosen.flatten(1).scatter(1, next(taken), True)
        assert (chosen.sum(1) == min(64 * k, h3 * w3)).all()
        worst = fine.masked_fill(~chosen, torch.inf).amin(1)
        best_left = fine.masked_fill(chosen, -torch.inf).amax(1)
        assert (worst >= best_left - 1e-12).all()
        return chosen
    for b in range(len(score)):
        for token in score[b].argsort(descending=True)[:k].tolist():
            row, col = divmod(token, w0)
            chosen[b, 8 * row : 8 * row + 8, 8 * col : 8 * col + 8] = True
    return chosen.flatten(1)
