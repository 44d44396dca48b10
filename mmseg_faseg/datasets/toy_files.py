"""Which toy scenes a data set has, and their files: written where they are missing."""

import io
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from .toy_painter import Scene, paint_scene

# Part of the folder's name: a changed painter never mixes its scenes with older ones.
_EDITION = 1
_SPLITS = ('train', 'val')


@dataclass(frozen=True)
class ToyScenes:
    """All that toy scenes follow from.

    Scene ``i`` of a split depends on ``(seed, split, i)`` and ``size`` alone: order, number of
    images and process do not matter.

    Attributes:
        split: ``'train'`` or ``'val'``; they share no scene.
        num_images: Number of scenes, at least 1.
        seed: Any integer >= 0.
        size: Height and width in pixels, at least 64.

    Raises:
        ValueError: One of them is outside what is said above.
    """

    split: str
    num_images: int
    seed: int
    size: int

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise ValueError(f'split must be one of {_SPLITS}, got {self.split!r}')
        for name, least in (('num_images', 1), ('seed', 0), ('size', 64)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f'{name} must be an integer of at least {least}, got {value!r}')

    @property
    def folder(self) -> str:
        """Name of the folder, below the data root, for scenes like these of both splits."""
        return f'edition{_EDITION}_seed{self.seed}_size{self.size}'

    def paint(self, index: int) -> Scene:
        """Paints scene ``index``."""
        rng = np.random.default_rng([self.seed, _SPLITS.index(self.split), index])
        return paint_scene(rng, self.size)

    def files(self, folder: Path) -> list[Path]:
        """One PNG file a scene in a folder."""
        return [folder / f'{index:05d}.png' for index in range(self.num_images)]

    def write_missing(self, folders: Mapping[Path, Callable[[Scene], np.ndarray]]) -> None:
        """Writes what is missing of a scene's PNG files, one in each folder.

        An interrupted call is completed by the next, and several processes may call at once.

        Args:
            folders: What goes to each folder: a function of the scene, which gives (H, W) or
                RGB (H, W, 3) uint8.
        """
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        rows = list(enumerate(zip(*map(self.files, folders), strict=True)))
        missing = [(index, row) for index, row in rows if not all(map(Path.exists, row))]
        if missing:
            place = next(iter(folders))
            print_log(f'Painting {len(missing)} toy scenes for {place} ...', 'current')
        for index, row in missing:
            scene = self.paint(index)
            for file, part in zip(row, folders.values(), strict=True):
                write_whole(file, _png(part(scene)))


def write_whole(file: Path, content: bytes) -> None:
    """Writes so that ``file`` is there whole or not at all."""
    temporary = file.with_name(f'.{file.stem}.{uuid.uuid4().hex}.tmp')
    temporary.write_bytes(content)
    os.replace(temporary, file)


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format='PNG')
    return buffer.getvalue()
