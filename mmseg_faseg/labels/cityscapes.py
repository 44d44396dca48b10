"""Cityscapes: label maps of all its labels, or outlines in a JSON file, for each image."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmseg.datasets import CityscapesDataset

from ..errors import UserError
from .drawing import Annotations, Drawing, Shape, Size
from .fields import blamed, files_in, folder_of, read_json, take
from .images import opened
from .masks import fill, points_of

_PLACES = ('leftImg8bit', '../leftImg8bit', '.')
_POLYGONS, _IDS = '_polygons.json', '_labelIds.png'
# By id, as the data set's paper numbers them (Cordts et al., CVPR 2016).
# fmt: off
_NAMES = (
    'unlabeled', 'ego vehicle', 'rectification border', 'out of roi', 'static', 'dynamic', 'ground',
    'road', 'sidewalk', 'parking', 'rail track', 'building', 'wall', 'fence', 'guard rail',
    'bridge', 'tunnel', 'pole', 'polegroup', 'traffic light', 'traffic sign', 'vegetation',
    'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'caravan', 'trailer', 'train',
    'motorcycle', 'bicycle',
)
# fmt: on


def read(source: Path) -> Annotations:
    """Reads a file, or all below a folder: ``*_labelIds.png``, or ``*_polygons.json`` without it.

    Classes are the 19 that are evaluated, in the order of their training ids; the rest is ignored.

    Raises:
        UserError: There are no such files.
    """
    meta = CityscapesDataset.METAINFO
    classes = list(meta['classes'])
    drawings, problems, seen = [], [], set()
    root = folder_of(source)
    for path in files_in(source, _IDS.lower(), _POLYGONS):
        stem = path.name.removesuffix(_POLYGONS).removesuffix(_IDS)
        if path.parent / stem in seen:  # '_labelIds.png' comes before '_polygons.json'
            continue
        seen.add(path.parent / stem)
        name = stem.removesuffix('_gtFine').removesuffix('_gtCoarse') + '_leftImg8bit'
        folders = path.parent.relative_to(root).parts
        folders = folders[1:] if folders[:1] in (('gtFine',), ('gtCoarse',)) else folders
        try:
            drawings.append(_drawing(path, '/'.join([*folders, name])))
        except UserError as error:
            problems.append(str(error))
    colours = dict(zip(classes, map(tuple, meta['palette']), strict=True))
    return Annotations(classes, drawings, _PLACES, problems, rest=None, colours=colours)


def _drawing(path: Path, name: str) -> Drawing:
    if path.name.endswith(_IDS):
        with opened(path) as image:
            size = image.size
        return Drawing(str(path), (name,), size, lambda size: _from_ids(path))
    content = read_json(path)
    with blamed(str(path)):
        size = take(content, 'imgWidth', int), take(content, 'imgHeight', int)
        objects = take(content, 'objects', list)
    return Drawing(str(path), (name,), size, lambda size: _from_outlines(objects, size))


def _from_ids(path: Path) -> Iterator[Shape]:
    with opened(path) as image:
        ids = np.asarray(image)
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise UserError('is no map of label ids in 8 bits')
    for label in np.unique(ids):
        if label >= len(_NAMES):
            raise UserError(f'there is no label {label}')
        yield Shape(_NAMES[label], ids == label)


def _from_outlines(objects: list, size: Size) -> Iterator[Shape]:
    for number, one in enumerate(objects):
        with blamed(f'object {number}'):
            name = take(one, 'label', str)
            if name not in _NAMES:  # 'cargroup' is cars that cannot be told apart
                name = name.removesuffix('group')
            if not one.get('deleted'):
                yield Shape(name, fill([points_of(take(one, 'polygon', list))], size))
