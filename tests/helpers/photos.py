"""Folders of small photos and label maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def photo(rng: np.random.Generator, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """RGB (height, width, 3), unlike any other."""
    fields = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(fields).resize(size[::-1]))


def label_map(
    rng: np.random.Generator, values: Sequence[int], size: tuple[int, int] = (48, 64)
) -> np.ndarray:
    """A label map (height, width) that shows all values, in stripes."""
    stripes = np.resize(np.array(values, np.uint8), 8)
    return np.roll(np.repeat(stripes, size[1] // 8)[None].repeat(size[0], 0), rng.integers(64), 1)


def make_folders(
    root: Path,
    values: Sequence[int] = (0, 1),
    count: int = 8,
    suffixes: Sequence[str] = ('.jpg',),
    ending: str = '',
) -> tuple[Path, Path]:
    """Writes ``count`` photos and label maps of the same names; their folders."""
    rng = np.random.default_rng(0)
    photos, masks = root / 'photos', root / 'masks'
    for folder in (photos, masks):
        folder.mkdir(parents=True)
    for number in range(count):
        suffix = suffixes[number % len(suffixes)]
        Image.fromarray(photo(rng)).save(photos / f'p{number}{suffix}')
        Image.fromarray(label_map(rng, values)).save(masks / f'p{number}{ending}.png')
    return photos, masks
