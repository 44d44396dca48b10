"""The images that annotations are of: which file is meant, how large it is, how it lies."""

import os
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..datasets.broken_files import first_line, truncation_refused
from ..datasets.folders import IMAGE_SUFFIXES
from ..datasets.read_image import large_images_allowed
from ..errors import UserError
from .drawing import Size
from .masks import check_size

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 lie on their side
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageFolder:
    """Finds images by what annotations call them.

    Args:
        folder: Where they lie, or below it.
        without: A folder in it that is not looked into.
    """

    def __init__(self, folder: Path, without: Path | None = None) -> None:
        self.folder = folder
        self._paths: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, list[str]] = defaultdict(list)
        self.files = list(_image_files(folder, without))
        for file in self.files:
            path = PurePosixPath(file)
            for name in {file, str(path.with_suffix(''))}:
                self._paths[_normal(name)].append(file)
                self._ends[PurePosixPath(_normal(name)).name].append(file)

    def find(self, names: Iterable[str]) -> str:
        """The image's path below the folder.

        A name is such a path, with or without suffix; or either ends in the other, as where
        annotations were made in another place.

        Raises:
            UserError: There is none, or more than one.
        """
        names = list(names)
        for name in names:
            wanted = _normal(name)
            for found in (self._paths.get(wanted), self._by_end(wanted)):
                if found and len(found) > 1:
                    raise UserError(f'{names[0]} may be any of {", ".join(found[:3])}')
                if found:
                    return found[0]
        raise UserError(f'there is no image {names[0]} in {self.folder}')

    def _by_end(self, wanted: str) -> list[str]:
        parts = PurePosixPath(wanted).parts
        found = []
        for file in self._ends.get(parts[-1], []) if parts else []:
            own = PurePosixPath(_normal(file)).parts[:-1]
            common = min(len(own), len(parts) - 1)
            if own[len(own) - common :] == parts[len(parts) - 1 - common : -1]:
                found.append(file)
        return found


def has_images(folder: Path) -> bool:
    """Whether an image lies in a folder or below it."""
    return next(_image_files(folder), None) is not None


def _image_files(folder: Path, without: Path | None = None) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        if without is not None:
            folders[:] = [name for name in folders if Path(parent, name).resolve() != without]
        for file in sorted(files):
            if Path(file).suffix.lower() in IMAGE_SUFFIXES and not file.startswith('.'):
                yield Path(parent, file).relative_to(folder).as_posix()


def _normal(name: str) -> str:
    """One spelling of what may be written with backslashes, ``..`` or decomposed letters."""
    name = unicodedata.normalize('NFC', name).replace('\\', '/')
    return str(PurePosixPath(*(part for part in name.split('/') if part not in ('.', '..', ''))))


@contextmanager
def opened(file: Path | BytesIO) -> Iterator[Image.Image]:
    """A picture by PIL, not yet decoded, of a size that memory can be asked for.

    Raises:
        UserError: It is none, is cut off, or is too large.
    """
    name = f'{file}: ' if isinstance(file, Path) else ''
    try:
        with truncation_refused(), large_images_allowed(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(file) as image:
                check_size(image.size)
                yield image
    except UserError as error:
        raise UserError(f'{name}{error}') from None
    except Exception as error:  # so many kinds of damage, so many types
        raise UserError(f'{name}cannot be read ({first_line(error)})') from None


class Lie(NamedTuple):
    """How an image lies in its file.

    Attributes:
        stored: Its size there.
        tag: EXIF's orientation; training turns the image by it.
    """

    stored: Size
    tag: int

    @property
    def upright(self) -> Size:
        """Its size once it is turned."""
        width, height = self.stored
        return (height, width) if self.tag >= 5 else (width, height)

    @property
    def is_told_by_size(self) -> bool:
        """Whether sizes tell on which of both somebody drew."""
        return self.tag == 1 or self.stored != self.upright


def lie_of(file: Path) -> Lie:
    """How an image lies in its file.

    Raises:
        UserError: It cannot be read.
    """
    with opened(file) as image:
        tag = image.getexif().get(_ORIENTATION, 1)
        return Lie(image.size, tag if tag in _TURNS else 1)


def turn(labels: np.ndarray, tag: int) -> np.ndarray:
    """Turns labels (H, W) that were drawn on an image as stored upright."""
    return np.asarray(Image.fromarray(labels).transpose(_TURNS[tag]))
