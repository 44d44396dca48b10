"""A column beside a picture that says which colour is which class."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# A class: its colour and what to write beside it.
Entry = tuple[Sequence[int], str]

_SMALLEST, _LARGEST = 13, 96  # letters, in pixels
_BACKGROUND, _INK = (255, 255, 255), (30, 30, 30)


def with_legend(
    picture: np.ndarray, entries: Sequence[Entry], size: tuple[int, int] | None = None
) -> np.ndarray:
    """Puts a legend on the right of a picture, none of which it covers.

    Args:
        picture: RGB (H, W, 3) uint8.
        entries: From top to bottom.
        size: Height and width of the result, at least those of :func:`room`'s; entries for which
            there is no room are counted in the last line. As needed if None.

    Returns:
        RGB uint8 of ``size``; without it, as high as the higher of the two.
    """
    height, width = picture.shape[:2]
    letters = _letters(height, width)
    total = size or room(picture.shape[:2], entries)
    canvas = np.full((*total, 3), _BACKGROUND, np.uint8)
    canvas[:height, :width] = picture
    if width < total[1]:
        column = Image.new('RGB', (total[1] - width, total[0]), _BACKGROUND)
        _write(ImageDraw.Draw(column), _fitting(entries, total[0], letters), letters)
        canvas[:, width:] = np.asarray(column)
    return canvas


def percent(share: float) -> str:
    """A share in words for people: one that is there is never 0.0%."""
    return '<0.1%' if 0 < share < 0.0005 else f'{share:.1%}'


def room(shape: tuple[int, ...], entries: Sequence[Entry]) -> tuple[int, int]:
    """Height and width of a picture of height and width ``shape`` with its legend."""
    letters = _letters(*shape[:2])
    font = _font(letters)
    widest = max((font.getlength(text) for _, text in entries), default=0)
    column = int(3.5 * letters + widest + 1) if entries else 0
    return max(shape[0], _line(letters) * len(entries) + letters), shape[1] + column


def _letters(height: int, width: int) -> int:
    """Their size, which grows with the picture's."""
    return min(max(_SMALLEST, min(height, width) // 30), _LARGEST)


def _line(letters: int) -> int:
    return 3 * letters // 2


def _fitting(entries: Sequence[Entry], height: int, letters: int) -> list[Entry]:
    count = max((height - letters) // _line(letters), 1)
    if len(entries) <= count:
        return list(entries)
    return [*entries[: count - 1], (_BACKGROUND, f'and {len(entries) - count + 1} more')]


def _write(draw: ImageDraw.ImageDraw, entries: Sequence[Entry], letters: int) -> None:
    for index, (colour, text) in enumerate(entries):
        top = letters // 2 + index * _line(letters)
        box = (letters, top, 2 * letters, top + letters)
        draw.rectangle(box, fill=tuple(colour), outline=None if colour == _BACKGROUND else _INK)
        draw.text((2.5 * letters, top + letters / 2), text, _INK, _font(letters), anchor='lm')


@cache
def _font(letters: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path(), 'fonts', 'ttf')  # has Greek and Cyrillic letters too
    return ImageFont.truetype(folder / 'DejaVuSans.ttf', letters)
