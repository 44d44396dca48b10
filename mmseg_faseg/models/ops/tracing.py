"""Traces hold for the image size that they were made with: at another one they say so."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def refuse_other_sizes(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps (B, C, H, W) as they are, with a check of their shapes in a trace that is being made.

    ``torch.jit.trace`` takes sizes for constants, so a trace would be silently wrong at another
    size. A scripted function stays a function in it: it raises there.
    """
    if not torch.jit.is_tracing():
        return list(maps)
    return [_checked()(x, int(x.shape[0]), int(x.shape[2]), int(x.shape[3])) for x in maps]


@functools.cache
def _checked() -> Callable[[Tensor, int, int, int], Tensor]:
    return torch.jit.script(_check)


def _check(x: Tensor, batch: int, height: int, width: int) -> Tensor:
    if x.size(0) != batch or x.size(2) != height or x.size(3) != width:
        raise RuntimeError('this trace holds for images of the size that it was made with')
    return x
