"""How test pipelines resize pictures, in numbers or symbols."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from ..errors import UserError
from .picture_model import Resize, Size

_OTHERS = ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')


def resize_of(pipeline: Sequence[dict[str, Any]]) -> Resize | None:
    """What a test pipeline does to the size of pictures; None if they keep it.

    Raises:
        UserError: It does something that an exported file does not do.
    """
    resize = None
    for step in pipeline:
        kind = str(step.get('type')).rpartition('.')[2]
        if kind in _OTHERS:
            continue
        if kind not in _SIZES or resize is not None:
            raise UserError(
                f'the test pipeline has {kind}: a file takes pictures as they are, or resized once '
                f'by {", ".join(_SIZES)}'
            )
        if not set(step) <= {'type', 'scale', 'max_size', 'keep_ratio'} or 'scale' not in step:
            raise UserError(f'the test pipeline resizes in a way that a file cannot: {step}')
        resize = Resize(_SIZES[kind](step), kind.startswith('Antialiased'))
    return resize


def _resize(step: dict[str, Any]) -> Callable[[Size], Size]:
    """Of MMCV's ``Resize``, whose scale is width and height."""
    scale = step['scale']
    width, height = (scale, scale) if isinstance(scale, int) else scale
    if step.get('keep_ratio', False):
        return partial(_within, min(width, height), max(width, height))
    return lambda _: (height, width)


def _shortest_edge(step: dict[str, Any]) -> Callable[[Size], Size]:
    """Of MMSegmentation's ``ResizeShortestEdge``, which rounds twice."""
    once = _fitted(step)

    def twice(size: Size) -> Size:
        height, width = once(size)
        return _within(torch.sym_min(height, width), torch.sym_max(height, width), size)

    return twice


def _antialiased_shortest_edge(step: dict[str, Any]) -> Callable[[Size], Size]:
    """Of ours, which keeps a row of a strip of pixels."""
    fitted = _fitted(step)

    def at_least_one(size: Size) -> Size:
        height, width = fitted(size)
        return torch.sym_max(height, 1), torch.sym_max(width, 1)

    return at_least_one


def _fitted(step: dict[str, Any]) -> Callable[[Size], Size]:
    scale = step['scale']
    return partial(_within, scale if isinstance(scale, int) else min(scale), step['max_size'])


def _within(shortest: Any, longest: Any, size: Size) -> Size:
    """The largest size of the same shape with no longer edges than these, to the nearest pixel."""
    height, width = size
    factor = torch.sym_min(
        shortest / torch.sym_min(height, width), longest / torch.sym_max(height, width)
    )
    return math.trunc(height * factor + 0.5), math.trunc(width * factor + 0.5)


_SIZES = {
    'Resize': _resize,
    'ResizeShortestEdge': _shortest_edge,
    'AntialiasedResizeShortestEdge': _antialiased_shortest_edge,
}
