"""From outlines, boxes and runs to masks: what is the same for all formats.

Outlines are filled by pycocotools, as COCO's own tools do it: coordinates are edges between
pixels, so a square from 2 to 6 has 4 x 4 pixels, and neighbours that share an edge share no pixel.
Where an outline crosses itself, even-odd parity decides.
"""

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..errors import UserError
from .drawing import Size

MAX_PIXELS = 2**28  # of an image: as many bytes for its label map
MAX_SIDE = 2**16 - 1  # what PNG viewers, JPEG and pycocotools' integers can do
_MAX_OUTLINE = 5_000_000  # pixels along a shape's outlines: pycocotools takes 80 bytes each


def check_size(size: Size) -> Size:
    """The size, if memory for a picture of it can be asked for.

    Raises:
        UserError: It is empty or too large.
    """
    width, height = size
    if min(size) < 1 or max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise UserError(
            f'a picture of {width} x {height} pixels: 1 to {MAX_SIDE} a side are possible, and '
            f'{MAX_PIXELS // 10**6} million in all'
        )
    return size


def points_of(values: Any) -> np.ndarray:
    """Points (N, 2), float64, from pairs or from x, y, x, y, ...

    Raises:
        UserError: They are no such numbers.
    """
    try:
        points = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError, OverflowError):
        raise UserError(f'points must be pairs of numbers, got {reprlib.repr(values)}') from None
    if not np.isfinite(points).all():
        raise UserError('points must be finite numbers')
    return points


def fill(outlines: Sequence[np.ndarray], size: Size) -> np.ndarray | None:
    """Pixels inside any of several outlines.

    Args:
        outlines: Points (N, 2) of each.
        size: Of the picture. What lies outside is cut off.

    Returns:
        A mask (H, W), bool; None if no outline has three points.

    Raises:
        UserError: A point is far away, or the outlines are too long to fill.
    """
    outlines = [points for points in outlines if len(points) >= 3]
    if not outlines:
        return None
    width, height = size
    for points in outlines:
        away = ((points < (-width, -height)) | (points > (2 * width, 2 * height))).any(1)
        if away.any():
            x, y = points[away][0]
            raise UserError(f'the point ({x:g}, {y:g}) is far outside {width} x {height} pixels')
    steps = [np.abs(points - np.roll(points, 1, 0)).max(1).sum() for points in outlines]
    if sum(steps) > _MAX_OUTLINE:
        raise UserError(f'an outline of more than {_MAX_OUTLINE} pixels is too long')
    runs = coco_mask.frPyObjects([points.ravel().tolist() for points in outlines], height, width)
    return coco_mask.decode(coco_mask.merge(runs)).view(bool)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The outline (4, 2) of a box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """The outline (N, 2) of an ellipse: a corner for each pixel along it, 16 to 720."""
    count = int(np.clip(2 * np.pi * max(rx, ry), 16, 720))
    angles = np.arange(count) * (2 * np.pi / count)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points (N, 2) turned clockwise, as seen, around the centre of their box."""
    centre = (points.min(0) + points.max(0)) / 2
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return (points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre


def from_runs(counts: Sequence[int], size: Size, by_rows: bool) -> np.ndarray:
    """A mask (H, W), bool, from lengths of runs outside and inside in turn.

    They are counted here, since pycocotools leaves pixels beyond the last run as memory was.

    Args:
        counts: The first is outside.
        size: Of the mask.
        by_rows: Whether runs go along rows (CVAT), or along columns (COCO).

    Raises:
        UserError: They are not of that many pixels.
    """
    width, height = check_size(size)
    wrong = next((n for n in counts if not isinstance(n, int) or not 0 <= n <= MAX_PIXELS), None)
    if wrong is not None:
        raise UserError(f'runs must be numbers of pixels, got {reprlib.repr(wrong)}')
    if sum(counts) != width * height:
        raise UserError(f'runs of {sum(counts)} pixels do not make {width} x {height}')
    inside = np.arange(len(counts)) % 2 == 1
    flat = np.repeat(inside, counts)
    return flat.reshape(height, width) if by_rows else flat.reshape(width, height).T


def decompress(text: str | bytes) -> list[int]:
    """Runs from COCO's compressed text: 5 bits a character, and differences to two runs before.

    Raises:
        UserError: It is no such text.
    """
    runs: list[int] = []
    value = bits = 0
    for character in text.encode('utf-8') if isinstance(text, str) else text:
        code = character - 48
        if not 0 <= code < 64 or bits > 30:
            raise UserError('counts are no compressed runs of COCO')
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:  # negative
            value -= 1 << bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = bits = 0
    if bits:
        raise UserError('counts end within a run')
    return runs
