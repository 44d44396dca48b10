"""Label maps: painted from shapes, and written as indexed PNG files."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import make_folder, whole_file
from .drawing import IGNORED, Shape, Size

IGNORE = 255  # the id of pixels that training leaves out
_IGNORE_COLOUR = (255, 255, 255)


@dataclass
class Painted:
    """What became of shapes.

    Attributes:
        labels: Ids (H, W), uint8.
        unlisted: How many shapes there are of each class that has no id.
        without_area: How many shapes have no pixel to paint: points, lines, outlines of fewer than
            three points.
    """

    labels: np.ndarray
    unlisted: Counter[str] = field(default_factory=Counter)
    without_area: int = 0


def paint(shapes: Iterable[Shape], ids: Mapping[str, int], rest: int, size: Size) -> Painted:
    """Paints shapes one above the other.

    Args:
        shapes: Bottom first.
        ids: Of classes. What has none becomes ``rest``, also where it covers another shape.
        rest: The id of pixels that nobody painted.
        size: Of the picture.
    """
    # By columns, as pycocotools' masks are: ten times as fast
    painted = Painted(np.full(size[::-1], rest, dtype=np.uint8, order='F'))
    for name, mask in shapes:
        if mask is None:
            painted.without_area += 1
            continue
        if name not in ids and name != IGNORED:
            painted.unlisted[name] += 1
        label = IGNORE if name == IGNORED else ids.get(name, rest)
        np.copyto(painted.labels, label, where=mask)
    return painted


def palette_of(
    classes: Iterable[str], colours: Mapping[str, tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """A colour for each class: its own, else that of PASCAL VOC for its id."""
    return [colours.get(name, _voc_colour(number)) for number, name in enumerate(classes)]


def _voc_colour(number: int) -> tuple[int, int, int]:
    """Bits of the number in turn become the highest bits of red, green and blue."""
    colour = [0, 0, 0]
    for bit in range(8):
        colour[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return colour[0], colour[1], colour[2]


def write_map(path: Path, labels: np.ndarray, palette: list[tuple[int, int, int]]) -> None:
    """Writes ids (H, W), uint8, as a PNG file that viewers show in colours.

    Raises:
        UserError: It cannot be written.
    """
    image = Image.fromarray(labels)
    unused = [(0, 0, 0)] * (IGNORE - len(palette))
    image.putpalette(np.array([*palette, *unused, _IGNORE_COLOUR], dtype=np.uint8).tobytes())
    make_folder(path.parent)
    with whole_file(path) as temporary:
        image.save(temporary, format='PNG')
