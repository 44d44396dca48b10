"""Looks at every image and label map of two folders, before anything is decided about them."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..datasets.broken_files import first_line, truncation_refused
from ..datasets.folders import IMAGE_SUFFIXES, LABEL_SUFFIXES
from ..datasets.read_image import MAX_PIXELS, large_images_allowed
from ..errors import UserError

_ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 5 to 8 lie on their side
_SKETCH = 8  # an image's likeness to others is judged by this many rows and columns
_MAX_COLOURS = 32  # of a colour mask, the most frequent ones


@dataclass
class Looked:
    """What was seen of an image and its label map.

    Attributes:
        name: Path of the image below its folder, without suffix.
        image: Path of the image.
        labels: Path of its label map; None if it has none.
        problem: The file that cannot be read, and why.
        size: (height, width) of the image as it is seen: upright.
        turned: Its EXIF orientation, 1 to 8; 1 is upright.
        label_size: (height, width) of the label map.
        values: Pixels of each value, of a label map with one value per pixel.
        colours: Pixels of the most frequent (red, green, blue), of one with colours.
        sketch: Whether brightness grows from each of 8 x 8 fields to the next, (64,): images that
            look alike have almost the same.
    """

    name: str
    image: str
    labels: str | None = None
    problem: tuple[str, str] | None = None
    size: tuple[int, int] = (0, 0)
    turned: int = 1
    label_size: tuple[int, int] | None = None
    values: dict[int, int] = field(default_factory=dict)
    colours: dict[tuple[int, int, int], int] = field(default_factory=dict)
    sketch: np.ndarray | None = None


@dataclass
class Survey:
    """What was seen in a folder of images and one of label maps.

    Attributes:
        images: The folder.
        labels: The folder of label maps; None without.
        looked: Each image, in the order of names.
        unpaired: Label maps without an image.
        unused: Other files in either folder.
        doubled: Files of one name, of which any could be meant.
        label_ending: What the names of label maps have after those of their images: ``'_mask'``.
    """

    images: str
    labels: str | None
    looked: list[Looked]
    unpaired: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    doubled: list[list[str]] = field(default_factory=list)
    label_ending: str = ''

    @property
    def pairs(self) -> list[Looked]:
        """Images that have a label map, both of which can be read."""
        return [one for one in self.looked if one.labels is not None and one.problem is None]

    @property
    def values(self) -> Counter[int]:
        """Pixels of each value in all label maps."""
        total: Counter[int] = Counter()
        for one in self.pairs:
            total.update(one.values)
        return total


def survey(images: str | Path, labels: str | Path | None = None) -> Survey:
    """Decodes all images and label maps, on all cores.

    Args:
        images: Folder with images, and folders of images.
        labels: Folder with the label maps, each of the same name as its image and below the same
            folders; None to look at images alone.

    Raises:
        UserError: A folder is not there or has nothing that could be used.
    """
    found = _files(images, IMAGE_SUFFIXES, 'images')
    maps = _Files() if labels is None else _files(labels, LABEL_SUFFIXES, 'label maps')
    if labels is not None and os.path.samefile(images, labels):
        raise UserError(f'{images} is given for images and for label maps: put them in two folders')
    ending = _ending(found.by_name, maps.by_name)
    by_image = {
        name.removesuffix(ending): files
        for name, files in maps.by_name.items()
        if name.endswith(ending)
    }
    entries = [
        Looked(name, files[0], next(iter(by_image.get(name, ())), None))
        for name, files in found.by_name.items()
    ]
    doubled = [files for part in (found, maps) for files in part.by_name.values() if files[1:]]
    paired = {entry.labels for entry in entries}
    return Survey(
        images=str(images),
        labels=None if labels is None else str(labels),
        looked=list(_look_at_all(entries)),
        unpaired=[files[0] for files in maps.by_name.values() if files[0] not in paired],
        unused=found.unused + maps.unused,
        doubled=doubled,
        label_ending=ending,
    )


def _ending(images: Collection[str], maps: Collection[str]) -> str:
    """What most names of label maps have after the name of an image."""
    endings: Counter[str] = Counter()
    for name in maps:
        stem = next((name[:end] for end in range(len(name), 0, -1) if name[:end] in images), None)
        if stem is not None:
            endings[name.removeprefix(stem)] += 1
    return endings.most_common(1)[0][0] if endings else ''


@dataclass
class _Files:
    by_name: dict[str, list[str]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def _files(folder: str | Path, suffixes: Sequence[str], what: str) -> _Files:
    """Files below a folder by their name in it, and those with other suffixes."""
    if not os.path.isdir(folder):
        state = 'is a file' if os.path.exists(folder) else 'there is no such folder'
        raise UserError(f'{folder}: {state}; a folder of {what} is needed')
    found = _Files()
    for path in sorted(_below(folder)):
        if path.suffix.lower() in suffixes:
            name = str(path.relative_to(folder).with_suffix(''))
            found.by_name.setdefault(name, []).append(str(path))
        else:
            found.unused.append(str(path))
    if not found.by_name:
        taken = ', '.join(f'*{suffix}' for suffix in suffixes)
        others = f', but {len(found.unused)} other files' if found.unused else ''
        raise UserError(f'{folder} has no {what} ({taken}){others}')
    return found


def _below(folder: str | Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        raise UserError(f'{error.filename}: {error.strerror}') from None

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith('.')]
        yield from (Path(parent, name) for name in files if not name.startswith('.'))


def _look_at_all(entries: list[Looked]) -> Iterator[Looked]:
    console = Console(stderr=True)
    # Threads, since decoders let go of Python's lock, and processes would import all of this first.
    threads = len(os.sched_getaffinity(0))
    with truncation_refused(), large_images_allowed(), ThreadPoolExecutor(threads) as pool:
        yield from track(
            pool.map(look, entries),
            'Looking',
            total=len(entries),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )


def look(entry: Looked) -> Looked:
    """Reads an image and its label map, and fills in what was seen."""
    for path, look_at in ((entry.image, _look_at_image), (entry.labels, _look_at_labels)):
        if path is None:
            continue
        try:
            with Image.open(path) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    size = f'{opened.width} x {opened.height}'
                    raise ValueError(f'it has {size} pixels, {MAX_PIXELS:,} are the most')
                look_at(entry, opened)
        except Exception as error:  # whatever a decoder raises, the file is what matters
            reason = 'the file is empty' if _is_empty(path) else first_line(error)
            entry.problem = (path, reason)
            break
    return entry


def _look_at_image(entry: Looked, image: Image.Image) -> None:
    image.load()
    entry.turned = int(image.getexif().get(_ORIENTATION, 1))
    size = image.height, image.width
    entry.size = size[::-1] if entry.turned in range(5, 9) else size
    fields = image.convert('L').resize((_SKETCH + 1, _SKETCH), Image.Resampling.BOX)
    brightness = np.asarray(fields, np.int16)
    entry.sketch = (brightness[:, 1:] > brightness[:, :-1]).ravel()


def _look_at_labels(entry: Looked, image: Image.Image) -> None:
    ids = np.asarray(image)
    entry.label_size = ids.shape[:2]
    if ids.dtype.kind == 'f' and (ids != ids.astype(np.int64)).any():
        raise ValueError('has fractions; one class number per pixel is needed')
    if ids.ndim == 2:
        if ids.dtype == np.uint8:  # much faster than sorting
            counts = np.bincount(ids.ravel(), minlength=256)
            entry.values = {int(value): int(counts[value]) for value in counts.nonzero()[0]}
        else:
            values, counts = np.unique(ids, return_counts=True)
            entry.values = dict(zip(map(int, values), map(int, counts), strict=True))
        return
    pixels = np.asarray(image.convert('RGB')).reshape(-1, 3).astype(np.uint32)
    codes, counts = np.unique(
        pixels @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_counts=True
    )
    colours: Counter = Counter()
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        colours[code >> 16, code >> 8 & 255, code & 255] = count
    entry.colours = dict(colours.most_common(_MAX_COLOURS))


def _is_empty(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == 0
