"""CVAT: one XML file for all images, as exported by "CVAT for images 1.1"."""

import reprlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from ..errors import UserError
from .drawing import Annotations, Drawing, Shape, Size
from .fields import blamed, files_in
from .masks import box, check_size, ellipse, fill, from_runs, points_of, turned

_PLACES = ('images', '.', '../images')
_WITHOUT_AREA = ('polyline', 'points', 'cuboid', 'skeleton')


def read(source: Path) -> Annotations:
    """Reads a file, or all below a folder.

    Classes are in the order of the task's labels. What has a lower ``z_order`` lies below; of the
    same, what comes first.

    Raises:
        UserError: There are no such files, or the only one cannot be read.
    """
    found = Annotations([], [], _PLACES)
    files = files_in(source, '.xml')
    for path in files:
        try:
            _add(path, _root(path), found)
        except UserError as error:
            if len(files) == 1:
                raise
            found.problems.append(str(error))
    return found


def _root(path: Path) -> Element:
    try:
        root = ElementTree.parse(path, forbid_dtd=True).getroot()
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}') from None
    except DefusedXmlException:
        raise UserError(f'{path}: declares a document type, which CVAT never does') from None
    except (ParseError, ValueError, LookupError) as error:
        raise UserError(f'{path}: is no XML that can be read ({error})') from None
    if root.tag != 'annotations':
        raise UserError(f'{path}: is not of CVAT: it has <{root.tag}>, not <annotations>')
    if root.find('track') is not None:
        raise UserError(f'{path}: is "CVAT for video": export it as "CVAT for images 1.1"')
    return root


def _add(path: Path, root: Element, found: Annotations) -> None:
    names = [(label.text or '').strip() for label in root.findall('meta//labels/label/name')]
    names = names or sorted({shape.get('label', '') for shape in root.findall('image/*')})
    for image in root.findall('image'):
        try:
            with blamed(f'{path}: image {image.get("name") or image.get("id")}'):
                found.drawings.append(_drawing(path, image))
        except UserError as error:
            found.problems.append(str(error))
    found.classes += [name for name in names if name and name not in found.classes]


def _drawing(path: Path, image: Element) -> Drawing:
    name = image.get('name')
    if not name:
        raise UserError('has no name')
    size = check_size((_whole(image, 'width'), _whole(image, 'height')))
    elements = [element for element in image if element.tag != 'tag']  # of the whole image
    return Drawing(f'{path} ({name})', (name,), size, lambda size: _shapes(elements, size))


def _shapes(elements: list[Element], size: Size) -> Iterator[Shape]:
    for element in sorted(elements, key=lambda element: _whole(element, 'z_order', 0)):
        label = element.get('label')
        with blamed(f'{element.tag} {label}'):
            if not label:
                raise UserError('has no label')
            yield Shape(label, _mask(element, size))


def _mask(element: Element, size: Size) -> np.ndarray | None:
    if element.tag in _WITHOUT_AREA:
        return None
    if element.tag == 'mask':
        return _runs(element, size)
    if element.tag == 'polygon':
        pairs = [pair.split(',') for pair in element.get('points', '').split(';')]
        return fill([points_of(pairs)], size)
    if element.tag == 'box':
        outline = box(*(_number(element, name) for name in ('xtl', 'ytl', 'xbr', 'ybr')))
    elif element.tag == 'ellipse':
        outline = ellipse(*(_number(element, name) for name in ('cx', 'cy', 'rx', 'ry')))
    else:
        raise UserError('is no shape of CVAT')
    return fill([turned(outline, _number(element, 'rotation', 0))], size)


def _runs(element: Element, size: Size) -> np.ndarray:
    left, top, width, height = (
        _whole(element, name) for name in ('left', 'top', 'width', 'height')
    )
    if min(left, top) < 0 or left + width > size[0] or top + height > size[1]:
        raise UserError(
            f'of {width} x {height} at ({left}, {top}) is not inside {size[0]} x {size[1]}'
        )
    try:
        counts = [int(count) for count in element.get('rle', '').split(',')]
    except ValueError:
        raise UserError('has no runs that can be read') from None
    whole = np.zeros(size[::-1], dtype=bool)
    whole[top : top + height, left : left + width] = from_runs(counts, (width, height), True)
    return whole


def _number(element: Element, name: str, default: float | None = None) -> float:
    text = element.get(name)
    if text is None and default is not None:
        return default
    try:
        number = float(text or '')
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UserError(f'{name} must be a number, got {reprlib.repr(text)}')
    return number


def _whole(element: Element, name: str, default: int | None = None) -> int:
    number = _number(element, name, default)
    if number != int(number):
        raise UserError(f'{name} must be a whole number, got {number:g}')
    return int(number)
