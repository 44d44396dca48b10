"""Reads the annotation file of a COCO data set for what MMDetection does not pass on."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine import fileio
from mmengine.dataset import BaseDataset


@dataclass
class Annotations:
    """What an annotation file says and MMDetection does not pass on.

    Attributes:
        dataset: Whose file it is.
        names: Of all categories.
        categories: Those that are classes, in the order of label ids.
        others: How many objects there are of each other category, by name.
        left_out: Objects that MMDetection leaves out, in words.
        without_iscrowd: How many objects do not say whether they are a crowd.
        images: Files of images by their ids.
    """

    dataset: BaseDataset
    names: list[str] = field(default_factory=list)
    categories: list[dict] | None = None
    others: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    without_iscrowd: int = 0
    images: dict[Any, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: BaseDataset) -> 'Annotations':
        """Of a data set; without categories where its file is not COCO's."""
        found = cls(dataset)
        labels = getattr(dataset, 'cat_ids', None)
        if not isinstance(dataset, CocoDataset) or labels is None:
            return found
        content = read(dataset)
        categories = {one['id']: one for one in content.get('categories', ())}
        known = set(labels)
        found.names = [one['name'] for one in categories.values()]
        found.categories = [categories[label] for label in labels]
        images = {one['id']: one for one in content.get('images', ())}
        found.images = {id: str(one.get('file_name', id)) for id, one in images.items()}
        why_left_out = _REASONS.get(type(dataset).parse_data_info)
        for one in objects(content):
            found.without_iscrowd += 'iscrowd' not in one
            category = categories.get(one['category_id'], {})
            if one['category_id'] not in known:
                found.others[str(category.get('name', one['category_id']))] += 1
                continue
            image = images.get(one['image_id'])
            reason = why_left_out(one, image) if why_left_out else None
            if reason:
                file = image.get('file_name') if image else f'image {one["image_id"]}'
                found.left_out.append(f'one of {file} with box {one["bbox"]}: {reason}')
        return found

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.dataset.ann_file)


def read(dataset: BaseDataset) -> dict:
    """The content of a data set's annotation file."""
    return fileio.load(dataset.ann_file, file_format='json', backend_args=dataset.backend_args)


def objects(content: dict) -> Iterator[dict]:
    """Objects of an annotation file, or segments, each with its ``image_id``."""
    for one in content.get('annotations', ()):
        for segment in one.get('segments_info', [one]):
            yield {**segment, 'image_id': one['image_id']}


def areas_of_segments(dataset: BaseDataset) -> dict[Any, dict[Any, float]] | None:
    """By image and segment, of panoptic data to evaluate on; None of others."""
    if not isinstance(dataset, CocoPanopticDataset) or not dataset.test_mode:
        return None
    areas: dict[Any, dict[Any, float]] = {}
    for one in objects(read(dataset)):
        areas.setdefault(one['image_id'], {})[one['id']] = one['area']
    return areas


def _why_object(one: dict, image: dict | None) -> str | None:
    """Why ``CocoDataset`` leaves an object out."""
    if image is None:
        return 'the file lists no such image'
    if one.get('ignore'):
        return "it has 'ignore'"
    x, y, width, height = one['bbox']
    if min(x + width, image['width']) <= max(x, 0) or min(y + height, image['height']) <= max(y, 0):
        return 'its box is empty or outside the image'
    return _why_segment(one, image)


def _why_segment(one: dict, image: dict | None) -> str | None:
    """Why ``CocoPanopticDataset`` leaves a segment out."""
    if image is None:
        return 'the file lists no such image'
    if one['area'] <= 0:
        return f'its area is {one["area"]}'
    return 'its box is less than a pixel wide or high' if min(one['bbox'][2:]) < 1 else None


_REASONS: dict[Any, Callable[[dict, dict | None], str | None]] = {
    CocoDataset.parse_data_info: _why_object,
    CocoPanopticDataset.parse_data_info: _why_segment,
}
