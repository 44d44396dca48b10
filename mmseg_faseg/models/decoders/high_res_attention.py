"""High-resolution cross-attention (HRCA): attend to 1/4-scale features only where it matters."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...registry import register
from .focus_attention import Attended, FocusAttention
from .layer_view import LayerView

# Level-3 tokens under one level-0 token: 1/4 against 1/32 of the input, in each direction.
BLOCK = 8


@register
class HighResolutionCrossAttention(FocusAttention):
    """Cross-attention to the high-resolution tokens of a few chosen regions (FASeg, HRCA).

    The regions are chosen from the focus of an earlier layer on the coarsest level, summed over
    queries, and serve all queries of an image.

    Args:
        embed_dims (int): Width C.
        num_heads (int): Number of heads; must divide C.
        region (str): 'block', whole 8 x 8 blocks under the best coarse tokens (the released code),
            or 'pixel', the best tokens of the focus resized to the high resolution (the paper).
        ratio (float): Share of the coarse tokens whose blocks are attended to, rounded down, at
            least one. 'pixel' chooses as many tokens as those blocks hold.
        query_pos (str): Positional query of this attention: 'learned', the embedding B (the
            released code), or 'dynamic', the current one (the paper).
        **kwargs: As in :class:`mmcv.cnn.bricks.transformer.MultiheadAttention`.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        region: str = 'block',
        ratio: float = 1 / 32,
        query_pos: str = 'learned',
        **kwargs: Any,
    ) -> None:
        super().__init__(embed_dims, num_heads, **kwargs)
        if region not in _SELECTORS:
            raise ValueError(f'region must be one of {sorted(_SELECTORS)}, got {region!r}')
        if not 0 < ratio <= 1:
            raise ValueError(f'ratio must lie in (0, 1], got {ratio}')
        if query_pos not in ('learned', 'dynamic'):
            raise ValueError(f"query_pos must be 'learned' or 'dynamic', got {query_pos!r}")
        self.region = region
        self.ratio = ratio
        self.query_pos = query_pos

    @property
    def reads_embed(self) -> bool:  # type: ignore[override]
        """Whether its positional query is the learned embedding B."""
        return self.query_pos == 'learned'

    def attended(self, view: LayerView) -> Attended:
        """Chooses regions and gathers their tokens.

        Raises:
            ValueError: If the high-resolution level is too small to give every coarse token a
                token of its own.
        """
        level = view.level
        focus: Any = view.coarse_focus  # of the round's first layer, so it is there
        focus = focus.detach()
        if view.present is not None:
            focus = focus * view.present.unsqueeze(-1)
        index, padding = _SELECTORS[self.region](
            focus.sum(1), view.coarsest.size, level.size, self.ratio
        )
        value = _take(level.features, index) + level.level_embed
        key = value + _take(level.key_pos, index)
        return Attended(
            view.query_pos if self.query_pos == 'dynamic' else view.query_embed,
            key,
            value,
            None if padding is None else padding.unsqueeze(1),
            index,
        )

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        need_focus: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends to what ``attended`` gathered, as ``FocusAttention``; never reports a focus."""
        return super().forward(query, key, value, query_pos, attn_mask)


def select_blocks(
    score: Tensor, coarse_size: tuple[int, int], size: tuple[int, int], ratio: float
) -> tuple[Tensor, Tensor | None]:
    """Chooses the 8 x 8 blocks under the coarse tokens with the highest scores.

    Args:
        score: (B, HW_0).
        coarse_size: (H_0, W_0).
        size: (H_3, W_3). Blocks that reach beyond it are padded. Rows and columns beyond
            (8 H_0, 8 W_0), which backbones that round down leave, lie under no coarse token.
        ratio: Share of the coarse tokens to choose.

    Returns:
        Flat indices into the high-resolution level, (B, 64 k), and which of them are padding,
        (B, 64 k), or None if none can be.
    """
    (coarse_h, coarse_w), (height, width) = coarse_size, size
    if height <= BLOCK * (coarse_h - 1) or width <= BLOCK * (coarse_w - 1):
        raise ValueError(
            f'the high-resolution level must be about {BLOCK} times the coarse one, '
            f'got {height} x {width} over {coarse_h} x {coarse_w}'
        )
    chosen = score.topk(_num_blocks(coarse_size, ratio)).indices
    within = torch.arange(BLOCK, device=score.device)
    row = chosen // coarse_w
    col = chosen - row * coarse_w  # ONNX export takes no remainder of a width that varies
    rows = (row * BLOCK)[..., None, None] + within[:, None]
    cols = (col * BLOCK)[..., None, None] + within
    padding = None
    if height < BLOCK * coarse_h or width < BLOCK * coarse_w:
        padding = ((rows >= height) | (cols >= width)).flatten(1)
    index = rows.clamp(max=height - 1) * width + cols.clamp(max=width - 1)
    return index.flatten(1), padding


def select_pixels(
    score: Tensor, coarse_size: tuple[int, int], size: tuple[int, int], ratio: float
) -> tuple[Tensor, None]:
    """Chooses the best high-resolution tokens of the bilinearly resized scores.

    Takes and returns what :func:`select_blocks` does; as many tokens as its blocks hold, at most
    all.
    """
    fine = F.interpolate(
        score.unflatten(1, coarse_size).unsqueeze(1), size, mode='bilinear', align_corners=False
    )
    count = min(_num_blocks(coarse_size, ratio) * BLOCK**2, size[0] * size[1])
    return fine.flatten(1).topk(count).indices, None


_SELECTORS = {'block': select_blocks, 'pixel': select_pixels}


def _num_blocks(coarse_size: tuple[int, int], ratio: float) -> int:
    share: Any = coarse_size[0] * coarse_size[1] * ratio
    if isinstance(share, torch.SymFloat):  # in an export for all sizes, where int() is a constant
        return torch.sym_max(math.trunc(share), 1)
    return max(int(share), 1)


def _take(tokens: Tensor, index: Tensor) -> Tensor:
    """Picks (B, N) of (B or 1, HW, C) into (B, N, C)."""
    tokens = tokens.expand(len(index), -1, -1)
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
