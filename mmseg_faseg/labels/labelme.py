"""LabelMe: a JSON file for each image, beside it or in a folder laid out like the images'."""

import base64
import binascii
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import UserError
from .drawing import Annotations, Drawing, Shape, Size
from .fields import blamed, files_in, folder_of, read_json, take
from .images import opened
from .masks import box, ellipse, fill, points_of

_PLACES = ('.', '../images')
_WITHOUT_AREA = ('point', 'points', 'line', 'linestrip')


def read(source: Path) -> Annotations:
    """Reads a file, or all below a folder.

    Classes are in the order of their names, since LabelMe lists them nowhere. Groups, which tell
    instances apart, do not matter for classes.

    Raises:
        UserError: There are no such files.
    """
    names, drawings, problems = set(), [], []
    for path in files_in(source, '.json'):
        try:
            drawing, own = _drawing(path, folder_of(source))
        except UserError as error:
            problems.append(str(error))
            continue
        drawings.append(drawing)
        names |= own
    return Annotations(sorted(names), drawings, _PLACES, problems, listed=False)


def _drawing(path: Path, root: Path) -> tuple[Drawing, set[str]]:
    content = read_json(path)
    with blamed(str(path)):
        entries = take(content, 'shapes', list)
        names = {take(entry, 'label', str) for entry in entries}
        size = tuple(take(content, key, int, 0) for key in ('imageWidth', 'imageHeight'))
        called = take(content, 'imagePath', str, '')
    folder = PurePosixPath(path.parent.relative_to(root).as_posix())
    last = called.replace('\\', '/').rpartition('/')[2]
    images = [str(folder / name) for name in (last, path.stem) if name]
    drawing = Drawing(
        str(path), tuple(images), size if all(size) else None, lambda size: _shapes(entries, size)
    )
    return drawing, names


def _shapes(entries: list[Any], size: Size) -> Iterator[Shape]:
    for number, entry in enumerate(entries):
        with blamed(f'shape {number} ({entry["label"]})'):
            yield Shape(entry['label'], _mask(entry, size))


def _mask(entry: dict, size: Size) -> np.ndarray | None:
    kind = take(entry, 'shape_type', str, 'polygon')
    points = points_of(take(entry, 'points', list))
    if kind in _WITHOUT_AREA:
        return None
    if kind == 'polygon':
        return fill([points], size)
    if kind not in ('rectangle', 'circle', 'mask'):
        raise UserError(f'{kind!r} is no shape of LabelMe that has an area')
    if len(points) != 2:
        raise UserError(f'a {kind} has two points, got {len(points)}')
    if kind == 'rectangle':
        return fill([box(*points.ravel())], size)
    if kind == 'circle':  # the centre, and a point on it
        x, y = points[0]
        radius = float(np.linalg.norm(points[1] - points[0]))
        return fill([ellipse(x, y, radius, radius)], size)
    return _placed(_picture(take(entry, 'mask', str)), points[0], size)


def _picture(text: str) -> np.ndarray:
    """A mask (H, W), bool, from the PNG file that a text holds."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UserError("'mask' is no base64") from None
    with opened(BytesIO(content)) as image:
        return np.asarray(image.convert('L')) > 0


def _placed(mask: np.ndarray, corner: np.ndarray, size: Size) -> np.ndarray:
    (left, top), (height, width) = corner.astype(int), mask.shape
    if min(left, top) < 0 or left + width > size[0] or top + height > size[1]:
        raise UserError(
            f'a mask of {width} x {height} at ({left}, {top}) is not inside {size[0]} x {size[1]}'
        )
    whole = np.zeros(size[::-1], dtype=bool)
    whole[top : top + height, left : left + width] = mask
    return whole
