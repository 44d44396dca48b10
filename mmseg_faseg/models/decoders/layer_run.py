"""What a decoder layer did, for those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from .focus_attention import Attended
from .layer_view import LayerView


@dataclass(frozen=True)
class LayerRun:
    """A layer that just ran.

    Attributes:
        index: Of the layer, from 0.
        level: Which level it attended to, 0 is the coarsest.
        layer: The layer itself.
        view: What it saw before it ran: sizes, positions K_p, the positional query.
        query: The content queries that entered it, (B, Q, C).
        attended: What its cross-attention attended to, (B, K, C).
        focus: Where its cross-attention looked, A (B, Q, K); None if nobody but the watcher asked.
        queries: The normalised queries that left it, (B, Q, C).
    """

    index: int
    level: int
    layer: nn.Module
    view: LayerView
    query: Tensor
    attended: Attended
    focus: Tensor | None
    queries: Tensor


Watcher = Callable[[LayerRun], None]
