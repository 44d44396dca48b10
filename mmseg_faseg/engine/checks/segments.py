"""What can be wrong with one image and its objects, or its segments of a panoptic PNG file.

Each check is a function and has its name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_masks
from scipy.ndimage import find_objects

from .pairs import Loaded, channels_of, image_channels
from .reading import Check

_BOX_PIXELS, _BOX_SHARE = 2.0, 0.1  # by how much an edge of a box may miss the mask
_AREA_SHARE = 0.01  # by how much an area may differ
_VOID = 0  # id of pixels of a panoptic PNG that belong to no segment
_SHOWN = 5  # ids in a line


@dataclass(frozen=True)
class ExpectedSegments:
    """What a model of instances or panoptic segments takes.

    Attributes:
        num_things: Number of classes of objects, whose ids come first.
        num_stuff: Number of the others.
        num_queries: How many segments of an image can be found,
        with_queries: of classes below this id; others have queries of their own.
        head: Where the config has the numbers.
        channels: Of images; None if that cannot be told.
    """

    num_things: int
    num_stuff: int
    num_queries: int
    with_queries: int
    head: str
    channels: int | None = None

    @property
    def num_classes(self) -> int:
        """Of things and stuff."""
        return self.num_things + self.num_stuff

    @classmethod
    def by(cls, model: Any) -> 'ExpectedSegments | None':
        """Of a detector with a head that has things and stuff; None of others."""
        for name in ('panoptic_head', 'bbox_head'):
            head: Any = getattr(model, name, None)
            if not hasattr(head, 'num_things_classes') or not hasattr(head, 'num_stuff_classes'):
                continue
            things, stuff = head.num_things_classes, head.num_stuff_classes
            if hasattr(head, 'num_queries'):
                queries, with_queries, place = head.num_queries, things + stuff, f'model.{name}'
            else:  # Panoptic SegFormer's stuff has queries of its own
                queries, with_queries, place = model.num_queries, things, 'model'
            return cls(things, stuff, queries, with_queries, place, channels_of(model))
        return None


@dataclass
class Segments(Loaded):
    """An image and its objects or segments.

    Attributes:
        size: (H, W) of the image as it was loaded.
        source: The annotation file.
        names: Of classes, by label id.
        objects: Entries with ``bbox`` (x1, y1, x2, y2), ``bbox_label``, ``ignore_flag`` and, of
            instances, ``mask``: polygons or RLE.
        ids: Of the panoptic PNG file (H, W); None of instances.
        said_areas: Of segments to evaluate on, as the annotation file has them.
        areas: Pixels of each object's mask; None where the pipeline loads no masks.
        labels: Class ids of what is learnt: objects, and stuff that the image shows.
    """

    size: tuple[int, int]
    source: str
    names: Sequence[str]
    objects: list[dict]
    ids: np.ndarray | None
    said_areas: dict[int, float]
    areas: np.ndarray | None
    labels: np.ndarray

    def name_of(self, place: int) -> str:
        """An object, for messages."""
        label = self.objects[place]['bbox_label']
        name = repr(self.names[label]) if label < len(self.names) else f'class {label}'
        box = _numbers(self.objects[place]['bbox'])
        return f'{self.image_name}: object {place} ({name}, box x1, y1, x2, y2 = {box})'

    def drawn(self) -> Iterator[tuple[int, Any]]:
        """Place and mask, polygons or RLE, of objects that have one."""
        for place, one in enumerate(self.objects):
            if one.get('mask'):
                yield place, one['mask']


def image_size(image: Segments, expected: ExpectedSegments) -> str | None:
    """Images have the size that the annotation file says."""
    height, width = image.info.get('height'), image.info.get('width')
    if height is None or width is None or (height, width) == tuple(image.size):
        return None
    said = _size((height, width))
    return f'{image.image_name} is {_size(image.size)}, but {image.source} says {said}'


def masks(image: Segments, expected: ExpectedSegments) -> str | None:
    """Every object has a mask."""
    if image.ids is not None:
        return None
    without = [place for place, one in enumerate(image.objects) if not one.get('mask')]
    if not without:
        return None
    return f"{image.name_of(without[0])} has no mask ('segmentation' in {image.source})"


def mask_size(image: Segments, expected: ExpectedSegments) -> str | None:
    """Masks are as large as their images."""
    if image.ids is not None and image.ids.shape != tuple(image.size):
        file = image.info['seg_map_path']
        return f'{image.image_name} is {_size(image.size)}, but {file} is {_size(image.ids.shape)}'
    for place, mask in image.drawn():
        size = mask.get('size') if isinstance(mask, dict) else None
        if size and tuple(size) != tuple(image.size):
            sizes = f'its mask is {_size(size)}, the image {_size(image.size)}'
            return f'{image.name_of(place)}: {sizes}'
    return None


def segment_ids(image: Segments, expected: ExpectedSegments) -> str | None:
    """Panoptic PNG files and the annotation file have the same segments."""
    if image.ids is None:
        return None
    found = set(np.unique(image.ids).tolist()) - {_VOID}
    listed = [segment['id'] for segment in image.info.get('segments_info', ())]
    file = image.info['seg_map_path']
    unknown, missing = sorted(found - set(listed)), sorted(set(listed) - found)
    if unknown:
        channels = [image.ids >> shift & 255 for shift in (0, 8, 16)]
        grey = all((channel == channels[0]).all() for channel in channels)
        hint = '; it is a grey picture: ids are R + 256 G + 65536 B' if grey else ''
        return (
            f'{file}: ids {_some(unknown)} are no segments of the image in {image.source}, or of '
            f'segments there whose area is 0 or whose box has no width or height{hint}'
        )
    if missing:
        return f'{file}: has no pixel of segments {_some(missing)}, which {image.source} lists'
    return None


def segment_areas(image: Segments, expected: ExpectedSegments) -> str | None:
    """Areas of panoptic segments to evaluate on are those of the PNG, to 1 %."""
    if image.ids is None or not image.said_areas:
        return None
    found = dict(zip(*(x.tolist() for x in np.unique(image.ids, return_counts=True)), strict=True))
    for segment, area in image.said_areas.items():
        if abs(area - found.get(segment, 0)) > _AREA_SHARE * found.get(segment, 0):
            return (
                f'{image.info["seg_map_path"]}: segment {segment} has {found.get(segment, 0)} '
                f'pixels, but {image.source} says area {area:g}, from which the metric computes '
                'its IoU'
            )
    return None


def object_labels(image: Segments, expected: ExpectedSegments) -> str | None:
    """Objects are of the model's classes of things."""
    for place, one in enumerate(image.objects):
        if not 0 <= one['bbox_label'] < expected.num_things:
            things = f'{expected.num_things} classes of things'
            return f'{image.name_of(place)} has label {one["bbox_label"]}; the model has {things}'
    return None


def mask_boxes(image: Segments, expected: ExpectedSegments) -> str | None:
    """An edge of a box misses that of its mask by 2 pixels or a tenth of its length at most."""
    for place, around in _boxes_around(image):
        box = np.array(image.objects[place]['bbox'], float)
        sides = np.tile(np.maximum(box[2:] - box[:2], around[2:] - around[:2]), 2)
        if (np.abs(box - around) > np.maximum(_BOX_PIXELS, _BOX_SHARE * sides)).any():
            return (
                f'{image.name_of(place)}: its mask lies in {_numbers(around)}; '
                f'boxes in {image.source} are [x, y, width, height], around the mask'
            )
    return None


def polygons(image: Segments, expected: ExpectedSegments) -> str | None:
    """Polygons have three points or more, and masks in RLE have size and counts."""
    for place, mask in image.drawn():
        if isinstance(mask, dict):
            if mask.get('size') is None or not isinstance(mask.get('counts'), list | str):
                return f'{image.name_of(place)} is left out: its mask has no size or no counts'
            continue
        for points in mask:
            if len(points) < 6 or len(points) % 2:
                return (
                    f'{image.name_of(place)}: a polygon of {len(points)} numbers is left out; it '
                    'needs x and y of three points or more'
                )
    return None


def empty_masks(image: Segments, expected: ExpectedSegments) -> str | None:
    """Masks have pixels."""
    if image.areas is None or len(image.areas) != len(image.objects):
        return None
    for place, area in enumerate(image.areas):
        if not area and not image.objects[place]['ignore_flag']:
            return f'{image.name_of(place)}: its mask has no pixel'
    return None


def _boxes_around(image: Segments) -> Iterator[tuple[int, np.ndarray]]:
    """Place and box (x1, y1, x2, y2) around the mask of each object that is not ignored.

    Of polygons around the points: what they are drawn to may be narrower.
    """
    learnt = [place for place, one in enumerate(image.objects) if not one['ignore_flag']]
    if image.ids is not None:
        ids = [one['id'] for one in image.info.get('segments_info', ()) if one['is_thing']]
        if len(ids) == len(image.objects):
            found, numbered = np.unique(image.ids, return_inverse=True)
            slices = find_objects(numbered.reshape(image.ids.shape) + 1)
            around = dict(zip(found.tolist(), slices, strict=True))
            for place in learnt:
                if ids[place] not in around:  # `segment_ids` may be left out
                    continue
                rows, columns = around[ids[place]]
                yield place, np.array([columns.start, rows.start, columns.stop, rows.stop], float)
        return
    for place, mask in image.drawn():
        if place not in learnt:
            continue
        if isinstance(mask, list):
            points = np.concatenate([[], *(one for one in mask if _is_drawn(one))]).reshape(-1, 2)
            if len(points):
                yield place, np.concatenate([points.min(0), points.max(0)])
            continue
        if isinstance(mask.get('counts'), list):
            mask = coco_masks.frPyObjects(mask, *mask['size'])
        if mask.get('counts') and coco_masks.area(mask):
            x, y, width, height = coco_masks.toBbox(mask)
            yield place, np.array([x, y, x + width, y + height])


def _is_drawn(polygon: Sequence[float]) -> bool:
    return len(polygon) >= 6 and len(polygon) % 2 == 0


def _size(size: Sequence[int]) -> str:
    return f'{size[1]} x {size[0]} (width x height)'


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return f'[{", ".join(f"{value:g}" for value in values)}]'


def _some(ids: Sequence[int]) -> str:
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return f'{list(ids[:_SHOWN])}{more}'


# In this order: each relies on those before it.
REFUSED: tuple[Check, ...] = (
    image_channels,
    image_size,
    masks,
    mask_size,
    segment_ids,
    segment_areas,
    object_labels,
    mask_boxes,
)
WARNED: tuple[Check, ...] = (polygons, empty_masks)
