from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .toy_files import ToyScenes


@DATASETS.register_module()
class ToyScenesDataset(BaseSegDataset):
    """Small landscapes made on first use, to try a model without downloading anything.

    Eight classes over textured backgrounds, with overlapping shapes, poles 1 to 3 pixels wide and
    discs of radius 2 to 5; label 255, a border of one pixel around every shape, is ignored. Some
    classes look alike and need context: water mirrors the sky, and a disc is a lamp on a pole but
    a ball elsewhere.

    Scene ``i`` of a split depends on ``(seed, split, i)`` and ``size`` alone: order, number of
    images and process do not matter. Scenes are written below ``data_root`` as PNG files where
    they are missing, each under a temporary name first, so that an interrupted first use is
    completed by the next and several processes may start at once.

    Args:
        split: ``'train'`` or ``'val'``; they share no scene.
        num_images: Number of scenes, at least 1.
        seed: Any integer >= 0.
        size: Height and width in pixels, at least 64.
        data_root: Folder to write to.
        **kwargs: What :class:`mmseg.datasets.BaseSegDataset` takes, but for ``data_prefix``,
            ``ann_file``, ``img_suffix`` and ``seg_map_suffix``, which follow from the above.

    Raises:
        ValueError: An argument is outside what is said above.
    """

    METAINFO = dict(
        classes=('sky', 'meadow', 'water', 'house', 'tree', 'pole', 'lamp', 'ball'),
        palette=[
            [150, 200, 240],
            [140, 190, 80],
            [40, 90, 180],
            [200, 80, 60],
            [20, 100, 60],
            [110, 70, 150],
            [255, 210, 50],
            [240, 90, 170],
        ],
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
            data_prefix=dict(
                img_path=f'{folder}/images/{split}', seg_map_path=f'{folder}/annotations/{split}'
            ),
            img_suffix='.png',
            seg_map_suffix='.png',
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Lists the scenes, first making those that are missing."""
        images, label_maps = (Path(self.data_prefix[key]) for key in ('img_path', 'seg_map_path'))
        self.scenes.write_missing({images: attrgetter('image'), label_maps: attrgetter('labels')})
        pairs = zip(self.scenes.files(images), self.scenes.files(label_maps), strict=True)
        return [
            dict(
                img_path=str(image),
                seg_map_path=str(labels),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for image, labels in pairs
        ]

    def make_scene(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Paints scene ``index``: RGB ``(size, size, 3)`` and label ids ``(size, size)``, uint8."""
        scene = self.scenes.paint(index)
        return scene.image, scene.labels
