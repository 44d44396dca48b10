"""Turns annotations of labelling tools into label maps."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..compat.torch_files import printable
from ..errors import UserError
from ..files import check_folder, whole_file
from ..labels import cityscapes, coco, colours, cvat, labelme, yolo
from ..labels.classes import choose_classes, rest_among
from ..labels.drawing import Annotations, Drawing
from ..labels.fields import folder_of
from ..labels.images import ImageFolder, has_images, lie_of, turn
from ..labels.maps import Painted, paint, palette_of, write_map

FORMATS = ('labelme', 'coco', 'yolo', 'cvat', 'cityscapes', 'colours')
IGNORE = 'ignore'  # in place of a class for pixels that nobody painted
CLASSES_FILE, LEFT_OUT_FILE = 'classes.txt', 'left_out.txt'


@dataclass
class Converted:
    """What was done.

    Attributes:
        images: The folder of the images.
        classes: Names, in the order of their ids.
        rest: The id of pixels that nobody painted.
        written: Label maps, and the paths of their images below ``images``.
        pixels: How many each id has, in all label maps.
        left_out: A line for each file or image that got no label map.
        unlisted: How many shapes there were of each class that is not among ``classes``.
        without_area: How many shapes had no pixel to paint.
        untold: Images whose orientation tag sizes do not tell from what was drawn on.
        without_drawing: Images that nobody drew on.
        older: Label maps in the folder that were there before, and are still.
    """

    images: Path
    classes: list[str]
    rest: int
    written: dict[Path, str] = field(default_factory=dict)
    pixels: Counter[int] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    unlisted: Counter[str] = field(default_factory=Counter)
    without_area: int = 0
    untold: list[str] = field(default_factory=list)
    without_drawing: list[str] = field(default_factory=list)
    older: list[Path] = field(default_factory=list)


def convert_labels(
    form: str,
    source: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    images: str | Path | None = None,
    rest: str | None = None,
    boxes: bool = False,
    table: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[Sequence[Drawing]], Iterable[Drawing]] = iter,
) -> Converted:
    """Writes a label map for each image that somebody drew on, and ``classes.txt``.

    An image or annotation that cannot be used is left out, with a line about it.

    Args:
        form: One of :data:`FORMATS`.
        source: File or folder of the annotations.
        out: Folder to write to: paths below it are those of the images, with ``.png``.
        classes: Names in the order of their ids; all that the annotations have if None.
        images: Folder of the images; where the format usually has them if None.
        rest: The class of pixels that nobody painted and of classes that are not listed;
            ``'ignore'`` for none. If None, what :func:`mmseg_faseg.labels.classes.rest_among` says.
        boxes: Whether YOLO's boxes are painted.
        table: File with names and colours of colour masks.
        overwrite: Whether ``out`` may hold something.
        progress: Is iterated over in place of the drawings.

    Raises:
        UserError: Nothing can be converted.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser()
    _check_source(form, source)
    _check_out(out, overwrite)
    found = _read(form, source, boxes, None if table is None else Path(table).expanduser())
    usual = rest_among(found.classes, classes, found.rest) if rest is None else rest
    usual = None if usual == IGNORE else usual
    names, rest_id = choose_classes(found.classes, classes, usual, found.listed)
    folder = _image_folder(source, found.places, images)
    root = folder_of(source).resolve()
    below = form == 'colours' and out.resolve().is_relative_to(root)  # they would be masks, too
    if below or out.resolve() in (folder.resolve(), root):
        raise UserError(f'{out} holds what is converted: label maps go to a folder of their own')
    before = {path for path in out.rglob('*.png')}
    done = Converted(folder, names, rest_id, left_out=[*map(printable, found.problems)])
    files = ImageFolder(folder, without=out.resolve())
    palette = palette_of(names, found.colours)
    for drawing in progress(found.drawings):
        try:
            image, path, labels = _convert(drawing, files, out, done)
        except UserError as error:
            done.left_out.append(_naming(drawing.source, str(error)))
            continue
        write_map(path, labels, palette)
        done.written[path] = image
    done.without_drawing = sorted(set(files.files) - set(done.written.values()))
    done.older = sorted(before - done.written.keys())
    _write_lists(out, done)
    return done


def _read(form: str, source: Path, boxes: bool, table: Path | None) -> Annotations:
    readers: dict[str, Callable[[Path], Annotations]] = {
        'labelme': labelme.read,
        'coco': coco.read,
        'yolo': partial(yolo.read, boxes=boxes),
        'cvat': cvat.read,
        'cityscapes': cityscapes.read,
        'colours': partial(colours.read, table=table),
    }
    return readers[form](source)


def _convert(
    drawing: Drawing, files: ImageFolder, out: Path, done: Converted
) -> tuple[str, Path, np.ndarray]:
    """Paints one label map: its image, the file to write, and its ids (H, W)."""
    image = files.find(drawing.names)
    path = out / Path(image).with_suffix('.png')
    if done.written.get(path) == image:
        raise UserError(f'{image} has a label map already, from another annotation')
    if path in done.written:
        raise UserError(f'{image} and {done.written[path]} would have one label map, {path}')
    lie = lie_of(files.folder / image)
    size = drawing.size or lie.upright
    if size not in (lie.stored, lie.upright):
        raise UserError(
            f'{image} is {lie.upright[0]} x {lie.upright[1]} (width x height), but was drawn on at '
            f'{size[0]} x {size[1]}'
        )
    ids = {name: label for label, name in enumerate(done.classes)}
    painted = paint(drawing.shapes(size), ids, done.rest, size)
    _count(painted, done)
    if drawing.size and not lie.is_told_by_size:
        done.untold.append(image)
    return image, path, painted.labels if size == lie.upright else turn(painted.labels, lie.tag)


def _count(painted: Painted, done: Converted) -> None:
    counts = np.bincount(painted.labels.ravel(order='K'), minlength=256)
    done.pixels.update({label: int(counts[label]) for label in np.flatnonzero(counts).tolist()})
    done.unlisted.update(painted.unlisted)
    done.without_area += painted.without_area


def _write_lists(out: Path, done: Converted) -> None:
    """The classes, and what was left out; the latter of an earlier conversion goes."""
    if done.written:
        with whole_file(out / CLASSES_FILE) as temporary:
            temporary.write_text('\n'.join([*done.classes, '']), 'utf-8')
    if done.left_out and out.is_dir():
        with whole_file(out / LEFT_OUT_FILE) as temporary:
            temporary.write_text('\n'.join([*done.left_out, '']), 'utf-8')
    else:
        (out / LEFT_OUT_FILE).unlink(missing_ok=True)


def _naming(source: str, text: str) -> str:
    return printable(text if text.startswith(source) else f'{source}: {text}')


def _check_source(form: str, source: Path) -> None:
    if form not in FORMATS:
        raise UserError(f'there is no format {form!r}: {", ".join(FORMATS)}')
    if not source.exists():
        raise UserError(f'there is no {source}')
    if source.is_file() and source.suffix.lower() in ('.zip', '.gz', '.tar', '.rar', '.7z'):
        raise UserError(f'{source} is an archive: unpack it, and give the folder')


def _check_out(out: Path, overwrite: bool) -> None:
    check_folder(out, 'OUT')
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f'{out} is not empty: --overwrite writes to it all the same')


def _image_folder(source: Path, places: Sequence[str], images: str | Path | None) -> Path:
    """The folder that is given, or the first usual place that has an image."""
    if images is not None:
        folder = Path(images).expanduser()
        if not folder.is_dir():
            raise UserError(f'--images: there is no folder {folder}')
        return folder
    root = folder_of(source)
    for place in places:
        folder = _joined(root, place)
        if folder.is_dir() and has_images(folder):
            return folder
    tried = ', '.join(str(_joined(root, place)) for place in places)
    raise UserError(f'no images in {tried}: say where they are, --images FOLDER')


def _joined(root: Path, place: str) -> Path:
    """A place beside or below a folder, spelled without ``..`` where that can be."""
    while place.startswith('..') and root.name not in ('', '..'):
        root, place = root.parent, place[3:]
    return root / place
