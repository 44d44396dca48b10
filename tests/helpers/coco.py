"""Small data sets of MMDetection in COCO's formats, which tests write and break."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as coco_masks

SIZE = (24, 32)  # height and width
BOXES = ([2, 3, 10, 8], [14, 10, 12, 9])  # x, y, width, height of the objects of each image
THINGS, STUFF = ('cat', 'dog'), ('grass',)
IDS = {'cat': 3, 'dog': 7, 'grass': 90}  # with gaps


def rle(box, size=SIZE) -> dict:
    """A mask that fills a box."""
    found = coco_masks.encode(np.asfortranarray(_filled(box, size)))
    return dict(size=list(size), counts=found['counts'].decode())


class Coco:
    """Three images with a cat and a dog, as instances or as panoptic segments with grass.

    Attributes:
        content: Of the annotation file; ``dataset`` writes it.
    """

    def __init__(self, root: Path, panoptic: bool = False) -> None:
        self.root, self.panoptic = root, panoptic
        self.images, self.pngs = root / 'images', root / 'panoptic'
        for folder in (self.images, self.pngs):
            folder.mkdir(exist_ok=True)
        names = (*THINGS, *STUFF) if panoptic else THINGS
        self.content: dict[str, Any] = dict(
            categories=[dict(id=IDS[name], name=name, isthing=name in THINGS) for name in names],
            images=[dict(id=i, file_name=f'{i}.png', height=24, width=32) for i in range(3)],
            annotations=[],
        )
        for image in range(3):
            Image.new('RGB', SIZE[::-1], 'gray').save(self.images / f'{image}.png')
            segments = [self._object(image, *one) for one in zip(THINGS, BOXES, strict=True)]
            if panoptic:
                grass = dict(id=9, category_id=90, bbox=[0, 0, 32, 24], area=580, iscrowd=0)
                segments.append(grass)
                one = dict(image_id=image, file_name=f'{image}.png', segments_info=segments)
                self.content['annotations'].append(one)
                self.write_png(image, {9: [0, 0, 32, 24], 1: BOXES[0], 2: BOXES[1]})
            else:
                self.content['annotations'] += segments

    def _object(self, image: int, name: str, box: list) -> dict:
        number = 1 + THINGS.index(name)
        one = dict(category_id=IDS[name], bbox=box, area=box[2] * box[3], iscrowd=0)
        if self.panoptic:
            return dict(one, id=number)
        return dict(one, id=10 * image + number, image_id=image, segmentation=rle(box))

    @property
    def first(self) -> dict:
        """The first object of image 0."""
        one = self.content['annotations'][0]
        return one['segments_info'][0] if self.panoptic else one

    def write_png(self, image: int, boxes: dict[int, list], size=SIZE) -> None:
        """Boxes (x, y, width, height) by segment id, the later ones on top; ids as colours."""
        ids = np.zeros(size, int)
        for number, box in boxes.items():
            ids[_filled(box, size) > 0] = number
        colours = np.stack([ids, ids // 256, ids // 65536], -1) % 256
        Image.fromarray(colours.astype(np.uint8)).save(self.pngs / f'{image}.png')

    def change(self, what: str) -> None:
        """Gives image 0 ``'nothing'``, ``'things'`` alone, ``'stuff'`` alone, or a ``'crowd'``.

        The latter is its first object; ``'no crowd'`` leaves that out, but for pixels of a PNG.
        """
        annotations = self.content['annotations']
        own = annotations[0]['segments_info'] if self.panoptic else annotations
        boxes = {9: [0, 0, 32, 24], 1: BOXES[0], 2: BOXES[1]}
        if what == 'crowd':
            own[0]['iscrowd'] = 1
            return
        gone = {'nothing': (9, 1, 2), 'things': (9,), 'stuff': (1, 2), 'no crowd': (1,)}[what]
        own[:] = [one for one in own if one.get('image_id', 0) or one['id'] not in gone]
        if self.panoptic and what == 'stuff':
            own[0]['area'] = 32 * 24
        if self.panoptic and what != 'no crowd':
            self.write_png(0, {number: box for number, box in boxes.items() if number not in gone})

    def settings(self, **changes) -> dict:
        """The config of the data set, whose annotation file is written."""
        file = self.root / 'annotations.json'
        file.write_text(json.dumps(self.content))
        names = (*THINGS, *STUFF) if self.panoptic else THINGS
        kind, load = CocoDataset, dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)
        if self.panoptic:
            kind, load = CocoPanopticDataset, dict(type='mmdet.LoadPanopticAnnotations')
        folders = dict(img='images', seg='panoptic') if self.panoptic else dict(img='images')
        pack = dict(type='mmdet.PackDetInputs')
        return (
            dict(
                type=kind,
                data_root=str(self.root),
                ann_file='annotations.json',
                data_prefix=folders,
                metainfo=dict(classes=names, thing_classes=THINGS, stuff_classes=STUFF),
                pipeline=[dict(type='LoadImageFromFile'), load, pack],
            )
            | changes
        )

    def dataset(self, **changes) -> CocoDataset:
        """The data set, of the content as it is now."""
        settings = self.settings(**changes)
        with DefaultScope.overwrite_default_scope('mmdet'):
            return settings.pop('type')(**settings)


def _filled(box, size) -> np.ndarray:
    x, y, width, height = box
    mask = np.zeros(size, np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask
