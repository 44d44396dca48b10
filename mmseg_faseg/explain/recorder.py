"""What every layer of the decoder did with an image, as the decoder itself tells it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models.decoders.focus_attention import Attended
from ..models.decoders.layer_run import LayerRun, Watcher
from ..models.decoders.mask_predictor import MaskGuide
from ..models.mask_head import MaskHead


@dataclass
class LayerRecord:
    """One layer.

    Attributes:
        index: Of the layer, from 0.
        level: Which level it attended to, 0 is the coarsest.
        size: (H, W) of the level in tokens.
        query_pos: The positional query that its cross-attention used, (B, Q, C).
        pointer: What gives, multiplied with K_p, where that points (``FocusAttention.pointer``),
            (B, Q, C).
        key_pos: K_p of the level, (B or 1, HW, C).
        focus: Where the cross-attention looked, averaged over heads: A (B, Q, K).
        tokens: Which tokens of the level it attended to, (B, K); all in their order if None.
        regions: Those tokens as a map (B, H, W), True where high-resolution attention chose to
            look; None for other layers.
        queries: The normalised queries that left the layer, (B, Q, C).
    """

    index: int
    level: int
    size: tuple[int, int]
    query_pos: Tensor
    pointer: Tensor
    key_pos: Tensor
    focus: Tensor
    tokens: Tensor | None
    regions: Tensor | None
    queries: Tensor

    def focus_map(self, query: int, image: int = 0) -> Tensor:
        """A of one query on the whole level, (H, W); 0 where the layer did not attend."""
        focus = self.focus[image, query]
        if self.tokens is not None:
            whole = focus.new_zeros(self.size[0] * self.size[1])
            focus = whole.index_add_(0, self.tokens[image], focus)
        return focus.unflatten(0, self.size)

    def points_map(self, query: int, image: int = 0) -> Tensor:
        """How well each position K_p fits where one query points, (H, W)."""
        key_pos = self.key_pos.expand(len(self.pointer), -1, -1)[image]
        return (key_pos @ self.pointer[image, query]).unflatten(0, self.size)


@dataclass
class Record:
    """What the decoder did with images.

    Attributes:
        size: (H, W) of the network's input in pixels, padding included.
        class_logits: The last prediction, (B, Q, K + 1), the last class 'no object'.
        mask_logits: The last prediction, (B, Q, h, w).
        layers: All layers.
        predictor: Makes masks of the layers' queries.
    """

    size: tuple[int, int]
    class_logits: Tensor
    mask_logits: Tensor
    layers: list[LayerRecord]
    predictor: MaskGuide

    @property
    def class_probs(self) -> Tensor:
        """Without 'no object', (B, Q, K)."""
        return self.class_logits.softmax(-1)[..., :-1]

    @torch.no_grad()
    def mask_map(self, layer: LayerRecord, query: int, image: int = 0) -> Tensor:
        """Mask logits that one query has after a layer, (h, w)."""
        return self.predictor.masks(layer.queries[:, [query]])[image, 0]


def mask_head_of(model: nn.Module) -> MaskHead:
    """The part of a segmentor or detector that can be recorded.

    Raises:
        TypeError: There is none.
    """
    for name in ('decode_head', 'panoptic_head'):
        head: Any = getattr(model, name, None)
        if isinstance(head, MaskHead):
            return head
    head = getattr(model, 'decode_head', model)
    raise TypeError(
        'only FASegHead and FASegPanopticHead tell what their decoders look at, '
        f'got {type(head).__name__}'
    )


@torch.no_grad()
def record(model: nn.Module, inputs: Tensor) -> Record:
    """Runs the network and keeps what its decoder did; predictions are what they always are.

    Args:
        model: A segmentor or detector with a FASeg head, in evaluation mode.
        inputs: Pre-processed images, (B, 3, H, W), of any size.

    Raises:
        TypeError: The model has no decoder that can be recorded.
    """
    head = mask_head_of(model)
    layers: list[LayerRecord] = []
    guides: list[MaskGuide] = []

    def keep(run: LayerRun) -> None:
        layers.append(_record_of(run))
        guides.append(run.view.predictor)

    extract_feat: Any = model.extract_feat
    with _watched_by(keep, head):
        class_logits, mask_logits = head.predict_last(extract_feat(inputs))
    size = (inputs.shape[-2], inputs.shape[-1])
    return Record(size, class_logits, mask_logits, layers, guides[0])


@contextmanager
def _watched_by(watcher: Watcher, head: MaskHead) -> Iterator[None]:
    head.transformer_decoder.watcher = watcher
    try:
        yield
    finally:
        del head.transformer_decoder.watcher


def _record_of(run: LayerRun) -> LayerRecord:
    level, attended = run.view.level, run.attended
    attention: Any = run.layer.cross_attn
    query_pos: Any = attended.query_pos  # only self-attention goes without
    # Asking the layer itself for a focus that nobody needs would take another way through it.
    focus = attention.focus_on(run.query, attended) if run.focus is None else run.focus
    return LayerRecord(
        index=run.index,
        level=run.level,
        size=level.size,
        query_pos=query_pos,
        pointer=attention.pointer(query_pos),
        key_pos=level.key_pos,
        focus=focus,
        tokens=attended.tokens,
        regions=_regions(attended, level.size),
        queries=run.queries,
    )


def _regions(attended: Attended, size: tuple[int, int]) -> Tensor | None:
    """Where the layer attended, (B, H, W); None if that was not chosen."""
    tokens, padding = attended.tokens, attended.attn_mask
    if tokens is None:
        return None
    seen = torch.ones_like(tokens) if padding is None else (~padding[:, 0]).long()
    count = tokens.new_zeros(len(tokens), size[0] * size[1]).scatter_add_(1, tokens, seen)
    return (count > 0).unflatten(1, size)
