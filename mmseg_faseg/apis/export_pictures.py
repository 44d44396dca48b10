"""Pictures to check an exported file with."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from PIL import Image

from ..datasets.folders import IMAGE_SUFFIXES
from ..datasets.read_image import read_image
from ..errors import UserError
from .config import datasets_of

_MOST = 8
_RANDOM_SIZES = ((240, 320), (261, 299))  # one with sides that are no multiples of 32


class Pictures(NamedTuple):
    """Pictures, RGB (H, W, 3) uint8.

    Attributes:
        real: Read from files.
        random: Random numbers.
        unreadable: Files that are no pictures, and why.
    """

    real: list[np.ndarray]
    random: list[np.ndarray]
    unreadable: list[str]


def pictures_to_check_with(
    images: str | Path | None, cfg: Config, size: tuple[int, int] | None
) -> Pictures:
    """Reads some pictures and makes some.

    Args:
        images: A picture, or a folder of which some are taken; that of the test data if None, if
            it is there.
        cfg: The model's config.
        size: Height and width that all are brought to.

    Raises:
        UserError: ``images`` has no picture that can be read.
    """
    real: list[np.ndarray] = []
    unreadable: list[str] = []
    for file in _files(_test_folder(cfg) if images is None else Path(images).expanduser()):
        try:
            real.append(_at(size, read_image(file)))
        except UserError as error:
            unreadable.append(str(error))
    if images is not None and not real:
        why = f': {unreadable[0]}' if unreadable else ''
        raise UserError(f'--images {images} has no picture that can be read{why}')
    rng = np.random.default_rng(0)
    sizes = _RANDOM_SIZES if size is None else (size,)
    random = [rng.integers(0, 256, (*sides, 3), dtype=np.uint8) for sides in sizes]
    return Pictures(real, random, unreadable)


def _test_folder(cfg: Config) -> Path | None:
    dataset = next(datasets_of(cfg.test_dataloader))
    folder = Path(
        dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img_path', '')
    )
    return folder if folder.is_dir() else None


def _files(path: Path | None) -> Iterable[Path]:
    """A file, or some of a folder, far apart from one another."""
    if path is None or path.is_file():
        return [] if path is None else [path]
    if not path.is_dir():
        raise UserError(f'--images: there is no file or folder {path}')
    files = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGE_SUFFIXES)
    return files[:: max(1, -(-len(files) // _MOST))]


def _at(size: tuple[int, int] | None, picture: np.ndarray) -> np.ndarray:
    if size is None or size == picture.shape[:2]:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))
