"""Panoptic segments painted over their images."""

from collections.abc import Sequence

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET

from .overlay import overlay

_OUTLINE = 255  # white


def paint_segments(
    image: np.ndarray, segments: np.ndarray, palette: Sequence[Sequence[int]], scale: int = 4
) -> np.ndarray:
    """Paints segments in the colours of their classes, with an outline around each.

    Args:
        image: RGB (H, W, 3) uint8.
        segments: Segment ids (H, W) as MMDetection's: the class, plus 1000 times the number of an
            instance. Those of classes beyond the palette, which are none, are painted black.
        palette: RGB of each class, 0 to 255.
        scale: How much larger the picture becomes, so that outlines leave something of what is
            one pixel wide.

    Returns:
        RGB (scale * H, scale * W, 3) uint8.
    """
    image, segments = (array.repeat(scale, 0).repeat(scale, 1) for array in (image, segments))
    painted = overlay(image, segments % INSTANCE_OFFSET, palette)
    painted[_edges(segments)] = _OUTLINE
    return painted


def _edges(segments: np.ndarray) -> np.ndarray:
    """Where another segment lies to the right or below, (H, W)."""
    edges = np.zeros(segments.shape, bool)
    edges[:, :-1] |= segments[:, 1:] != segments[:, :-1]
    edges[:-1] |= segments[1:] != segments[:-1]
    return edges
