"""COCO: objects with outlines or runs in one JSON file, or panoptic segments in PNG files."""

import reprlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..compat.panopticapi import rgb2id
from ..errors import UserError
from .drawing import Annotations, Drawing, Shape, Size
from .fields import blamed, files_in, folder_of, read_json, take
from .images import opened
from .masks import check_size, decompress, fill, from_runs, points_of

_PLACES = ('images', '.', '../images')


def read(source: Path) -> Annotations:
    """Reads a file, or all below a folder.

    Classes are in the order of the categories. Crowds are painted like everything else.

    Raises:
        UserError: There are no such files, or the only one cannot be read.
    """
    # As the data set lies: annotations/instances_train2017.json and train2017/*.jpg
    beside = ('..',) if folder_of(source).name == 'annotations' else ()
    found = Annotations([], [], _PLACES + beside)
    files = files_in(source, '.json')
    for path in files:
        try:
            names, drawings = _file(path, folder_of(source), found.problems)
        except UserError as error:
            if len(files) == 1:
                raise
            found.problems.append(str(error))
            continue
        found.classes += [name for name in names if name not in found.classes]
        found.drawings += drawings
    return found


def _file(path: Path, root: Path, problems: list[str]) -> tuple[list[str], list[Drawing]]:
    content = read_json(path)
    with blamed(str(path)):
        lists = [take(content, key, list) for key in ('categories', 'images', 'annotations')]
        names: dict[int, str] = {
            take(one, 'id', int): take(one, 'name', str).strip() for one in lists[0]
        }
        by_image: dict[int, list[dict]] = defaultdict(list)
        for one in lists[2]:
            by_image[take(one, 'image_id', int)].append(one)
    folder = PurePosixPath(path.parent.relative_to(root).as_posix())
    drawings = []
    for number, image in enumerate(lists[1]):
        try:
            with blamed(f'{path}: image {number}'):
                drawings.append(_drawing(path, folder, image, by_image, names))
        except UserError as error:
            problems.append(str(error))
    strays = {str(number) for number in by_image} - {
        str(image.get('id')) for image in lists[1] if isinstance(image, dict)
    }
    if strays:
        problems.append(f'{path}: annotations of {len(strays)} images that the file does not list')
    return list(dict.fromkeys(names.values())), drawings


def _drawing(
    path: Path,
    folder: PurePosixPath,
    image: Any,
    by_image: dict[int, list[dict]],
    names: dict[int, str],
) -> Drawing:
    file = take(image, 'file_name', str)
    size = check_size((take(image, 'width', int), take(image, 'height', int)))
    entries = by_image.get(take(image, 'id', int), [])

    def shapes(size: Size) -> Iterable[Shape]:
        for one in entries:
            with blamed(f'annotation {one.get("id")}'):
                if 'segments_info' in one:
                    yield from _segments(path, one, names, size)
                else:
                    yield Shape(_name(one, names), _mask(one, size))

    return Drawing(f'{path} ({file})', (str(folder / file), file), size, shapes)


def _name(one: dict, names: dict[int, str]) -> str:
    category = take(one, 'category_id', int)
    if category not in names:
        raise UserError(f'there is no category {category}')
    return names[category]


def _mask(one: dict, size: Size) -> np.ndarray | None:
    if isinstance(one.get('segmentation'), list):
        return fill([points_of(outline) for outline in one['segmentation']], size)
    segmentation = take(one, 'segmentation', dict)
    own, counts = segmentation.get('size'), segmentation.get('counts')
    if own != [size[1], size[0]]:
        raise UserError(f'runs must be of size [{size[1]}, {size[0]}], got {reprlib.repr(own)}')
    if isinstance(counts, str):
        counts = decompress(counts)
    elif not isinstance(counts, list):
        raise UserError(f"'counts' must be a list or a text, got {reprlib.repr(counts)}")
    return from_runs(counts, size, by_rows=False)


def _segments(path: Path, one: dict, names: dict[int, str], size: Size) -> Iterator[Shape]:
    """A class's segments at once; pixels of no segment are nobody's."""
    file = take(one, 'file_name', str)
    folders = (path.with_suffix(''), path.parent)
    png = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if png is None:
        raise UserError(f'there is no {file} in {folders[0]}')
    with opened(png) as image:
        if image.size != size:
            raise UserError(f'is {image.width} x {image.height}, not {size[0]} x {size[1]}')
        ids = rgb2id(np.asarray(image.convert('RGB')))
    by_name: dict[str, list[int]] = defaultdict(list)
    for segment in take(one, 'segments_info', list):
        by_name[_name(segment, names)].append(take(segment, 'id', int))
    for name, segments in by_name.items():
        yield Shape(name, np.isin(ids, segments))
