import io
import os
import uuid
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image

from .toy_painter import paint_scene

# Part of the folder's name: a changed painter never mixes its scenes with older ones.
_EDITION = 1
_SPLITS = ('train', 'val')


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
        **kwargs,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f'split must be one of {_SPLITS}, got {split!r}')
        for name, value, least in (
            ('num_images', num_images, 1),
            ('seed', seed, 0),
            ('size', size, 64),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f'{name} must be an integer of at least {least}, got {value!r}')
        self.split, self.num_images, self.seed, self.size = split, num_images, seed, size
        recipe = f'edition{_EDITION}_seed{seed}_size{size}'
        super().__init__(
            data_root=data_root,
            data_prefix=dict(
                img_path=f'{recipe}/images/{split}', seg_map_path=f'{recipe}/annotations/{split}'
            ),
            img_suffix='.png',
            seg_map_suffix='.png',
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Lists the scenes, first making those that are missing."""
        folders = [Path(self.data_prefix[key]) for key in ('img_path', 'seg_map_path')]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        scenes = [
            [folder / f'{index:05d}.png' for folder in folders] for index in range(self.num_images)
        ]
        missing = [index for index, files in enumerate(scenes) if not all(map(Path.exists, files))]
        if missing:
            print_log(f'Painting {len(missing)} toy scenes for {folders[0]} ...', 'current')
        for index in missing:
            for file, array in zip(scenes[index], self.make_scene(index), strict=True):
                _write_png(file, array)
        return [
            dict(
                img_path=str(image),
                seg_map_path=str(labels),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for image, labels in scenes
        ]

    def make_scene(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Paints scene ``index``: RGB ``(size, size, 3)`` and label ids ``(size, size)``, uint8."""
        rng = np.random.default_rng([self.seed, _SPLITS.index(self.split), index])
        return paint_scene(rng, self.size)


def _write_png(file: Path, array: np.ndarray) -> None:
    """Writes so that ``file`` is there whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format='PNG')
    temporary = file.with_name(f'.{file.stem}.{uuid.uuid4().hex}.tmp')
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, file)
