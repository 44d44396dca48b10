import json
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoPanopticDataset
from mmdet.registry import DATASETS
from PIL import Image
from pycocotools import mask as coco_mask

from .toy_files import ToyScenes, write_whole
from .toy_painter import BALL, HOUSE, LAMP, MEADOW, NO_SEGMENT, POLE, SKY, TREE, WATER, Scene
from .toy_scenes import ToyScenesDataset

_THINGS, _STUFF = (HOUSE, TREE, POLE, LAMP, BALL), (SKY, MEADOW, WATER)
_ORDER = (*_THINGS, *_STUFF)  # the painter's labels, as MMDetection has classes: things first


def _of(key: str, labels: tuple[int, ...]) -> tuple:
    """Names (``'classes'``) or colours (``'palette'``) of labels."""
    return tuple(ToyScenesDataset.METAINFO[key][label] for label in labels)


@DATASETS.register_module()
class ToyPanopticDataset(CocoPanopticDataset):
    """The pictures of :class:`ToyScenesDataset` with panoptic segments, in COCO's form.

    Things are house, tree, pole, lamp and ball, each a segment of its own; sky, meadow and water
    are stuff. The border of one pixel around every shape belongs to no segment.

    Files are written below ``data_root`` where they are missing, as those of
    :class:`ToyScenesDataset` are, whose images are shared. In ``edition1_seed{seed}_size{size}``
    there are then, for MMDetection's metrics too, ``images/{split}``, ``panoptic/{split}``,
    ``panoptic_{split}_{num_images}.json`` and, of things with masks,
    ``instances_{split}_{num_images}.json``.

    Args:
        split: ``'train'`` or ``'val'``; they share no scene.
        num_images: Number of scenes, at least 1.
        seed: Any integer >= 0.
        size: Height and width in pixels, at least 64.
        data_root: Folder to write to.
        **kwargs: What MMDetection's ``CocoPanopticDataset`` takes, but for ``data_prefix`` and
            ``ann_file``, which follow from the above.

    Raises:
        ValueError: An argument is outside what is said above.
    """

    METAINFO = dict(
        classes=_of('classes', _ORDER),
        thing_classes=_of('classes', _THINGS),
        stuff_classes=_of('classes', _STUFF),
        palette=_of('palette', _ORDER),
    )

    def __init__(
        self,
        split: str = 'train',
        num_images: int = 400,
        seed: int = 0,
        size: int = 128,
        data_root: str = 'data/toy_scenes',
        **kwargs: Any,
    ) -> None:
        self.scenes = ToyScenes(split, num_images, seed, size)
        folder = self.scenes.folder
        super().__init__(
            data_root=data_root,
            ann_file=f'{folder}/panoptic_{split}_{num_images}.json',
            data_prefix=dict(img=f'{folder}/images/{split}', seg=f'{folder}/panoptic/{split}'),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Lists the scenes, first making what is missing of their files and of annotations."""
        images, maps = (Path(self.data_prefix[key]) for key in ('img', 'seg'))
        self.scenes.write_missing({images: attrgetter('image'), maps: _segment_colours})
        panoptic = Path(self.ann_file)
        instances = panoptic.with_name(panoptic.name.replace('panoptic', 'instances', 1))
        if not (panoptic.exists() and instances.exists()):
            _write_annotations(self.scenes.files(maps), panoptic, instances)
        return super().load_data_list()


def _segment_colours(scene: Scene) -> np.ndarray:
    """Segment ids as colours (H, W, 3): the number in red, the category in green; black is none.

    In COCO's form an id is red + 256 green + 256 ** 2 blue; its categories count from 1 here.
    """
    categories = np.zeros(256, np.uint8)
    categories[list(_ORDER)] = np.arange(1, len(_ORDER) + 1)
    of_pixels = categories[scene.labels]
    return np.stack([scene.segments, of_pixels, np.zeros_like(of_pixels)], -1)


def _write_annotations(maps: list[Path], panoptic: Path, instances: Path) -> None:
    """Writes COCO's two annotation files from the maps of segments, which say it all."""
    images: list[dict] = []
    of_images: list[dict] = []
    of_things: list[dict] = []
    for image_id, file in enumerate(maps):
        colours = np.asarray(Image.open(file))
        size = dict(height=colours.shape[0], width=colours.shape[1])
        images.append(dict(id=image_id, file_name=file.name, **size))
        segments, masks = _segments(colours)
        of_images.append(dict(image_id=image_id, file_name=file.name, segments_info=segments))
        for segment, rle in zip(segments, masks, strict=True):
            if segment['category_id'] <= len(_THINGS):
                number = len(of_things) + 1  # unique among all images
                of_things.append({**segment, 'id': number, 'image_id': image_id, **rle})
    categories = [
        dict(id=number, name=name, isthing=int(number <= len(_THINGS)))
        for number, name in enumerate(_of('classes', _ORDER), 1)
    ]
    things = categories[: len(_THINGS)]
    # The panoptic file last: it is what the data set reads.
    for file, own, kinds in ((instances, of_things, things), (panoptic, of_images, categories)):
        content = dict(images=images, annotations=own, categories=kinds)
        write_whole(file, json.dumps(content).encode())


def _segments(colours: np.ndarray) -> tuple[list[dict], list[dict]]:
    """Of each segment of a map (H, W, 3) what the panoptic file says, and its mask's encoding."""
    ids = colours.astype(np.int64) @ (1, 256, 256**2)
    segments, masks = [], []
    for segment_id in np.unique(ids[ids != NO_SEGMENT]).tolist():
        rle = coco_mask.encode(np.asfortranarray(ids == segment_id, dtype=np.uint8))
        box, area = coco_mask.toBbox(rle).tolist(), int(coco_mask.area(rle))
        segments.append(
            dict(id=segment_id, category_id=segment_id // 256, bbox=box, area=area, iscrowd=0)
        )
        masks.append(dict(segmentation={**rle, 'counts': rle['counts'].decode()}))
    return segments, masks
