"""What is wrong with an annotation file that MMDetection cannot take in."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mmdet.datasets import CocoDataset, CocoPanopticDataset

from ...datasets.broken_files import first_line
from .annotation_file import read

_IMAGE = dict(id=object, file_name=str, height=int, width=int)
_OBJECT = dict(id=object, image_id=object, category_id=object, area=float, bbox=list)
_SEGMENT = dict(id=object, category_id=object, area=float, bbox=list)
_WORDS = {int: 'a number', float: 'a number', str: 'a text', list: 'a list'}


def form_problem(dataset: CocoDataset, error: Exception) -> str:
    """Says which entry lacks what.

    Args:
        dataset: Whose annotation file it is.
        error: What MMDetection raised; told where nothing is found.
    """
    try:
        content = read(dataset)
    except ValueError as wrong:
        return f'is no JSON file ({first_line(wrong)})'
    panoptic = isinstance(dataset, CocoPanopticDataset)
    try:
        problem = next(_problems(content, panoptic, dataset.metainfo.get('classes') or ()), None)
    except (AttributeError, KeyError, TypeError):
        problem = None
    kind = "COCO's panoptic format" if panoptic else "COCO's format for instances"
    return problem or f'cannot be read as {kind} ({first_line(error)})'


def _problems(content: Any, panoptic: bool, classes: tuple) -> Iterator[str]:
    for name in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            yield f'has no list of {name}'
    yield from _lacking('category', content['categories'], dict(id=object, name=str))
    if panoptic:
        yield from _lacking('category', content['categories'], dict(isthing=int))
    yield from _lacking('image', content['images'], _IMAGE)
    annotations = content['annotations']
    if not panoptic:
        yield from _lacking('annotation', annotations, _OBJECT)
        for number, times in Counter(one['id'] for one in annotations).most_common(1):
            if times > 1:
                yield f'{times} annotations have the id {number}: each needs its own'
        return
    yield from _lacking('annotation', annotations, dict(image_id=object, segments_info=list))
    names = {one['id']: one['name'] for one in content['categories']}
    for one in annotations:
        where = f'of image {one["image_id"]}, segment'
        yield from _lacking(where, one['segments_info'], _SEGMENT)
        for segment in one['segments_info']:
            category = names.get(segment['category_id'])
            if category not in classes:
                found = f'{segment["category_id"]} ({category!r})'
                yield (
                    f'segment {segment["id"]} of image {one["image_id"]} has category {found}, '
                    'which is none of the classes: add it to metainfo.classes, or take such '
                    'segments out of the file'
                )


def _lacking(what: str, entries: list[dict], wanted: Mapping[str, type]) -> Iterator[str]:
    """The first entry without a key, or with another type of value."""
    for place, entry in enumerate(entries):
        for key, kind in wanted.items():
            if key not in entry:
                yield f'{what} {entry.get("id", place)} has no {key!r}'
            kinds = (int, float) if kind in (int, float) else kind
            if not isinstance(entry[key], kinds):
                found = f'{key}={entry[key]!r}'
                yield f'{what} {entry.get("id", place)} has {found}, which should be {_WORDS[kind]}'
        if len(entry.get('bbox', range(4))) != 4:
            yield f'{what} {entry.get("id", place)} has bbox={entry["bbox"]}, which needs 4 numbers'
