"""YOLO: a text file for each image, a line for each object: class, then points as shares."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from ..errors import UserError
from .drawing import Annotations, Drawing, Shape, Size
from .fields import blamed, files_in, folder_of, read_text
from .masks import box, fill, points_of

_PLACES = ('images', '.', '../images')
_NAME_FILES = ('data.yaml', '*.yaml', '*.yml', 'classes.txt', 'obj.names', 'labels.txt')
_LISTS = ('classes.txt', 'labels.txt', 'train.txt', 'val.txt', 'valid.txt', 'test.txt')
_BOX = 4  # numbers after the class


def read(source: Path, boxes: bool = False) -> Annotations:
    """Reads a folder, or a file with the names of the classes beside it or above it.

    Classes are in the order of their numbers.

    Args:
        source: The folder or file.
        boxes: Whether boxes are painted, as rectangles.

    Raises:
        UserError: There are no such files, no names, or boxes that are not asked for.
    """
    root = folder_of(source)
    names = _names(root)
    drawings, problems = [], []
    for path in _files(source):
        try:
            objects = _objects(path, names)
        except UserError as error:
            problems.append(str(error))
            continue
        if not boxes and any(len(numbers) == _BOX for _, numbers in objects):
            raise UserError(
                f'{path} has boxes, not outlines: --boxes paints them as filled rectangles'
            )
        drawings.append(_drawing(path, root, objects))
    return Annotations(list(dict.fromkeys(names)), drawings, _PLACES, problems)


def _files(source: Path) -> list[Path]:
    """Those in folders called ``labels``, where there are some; no lists of classes or images."""
    files = [path for path in files_in(source, '.txt') if path.name not in _LISTS]
    return [path for path in files if 'labels' in path.parts] or files


def _drawing(path: Path, root: Path, objects: list[tuple[str, np.ndarray]]) -> Drawing:
    parts = path.relative_to(root).with_suffix('').parts
    exchanged = ['images' if part == 'labels' else part for part in parts[:-1]]
    shorter = [part for part in parts[:-1] if part != 'labels']
    names = ['/'.join([*folders, parts[-1]]) for folders in (exchanged, shorter)]
    return Drawing(str(path), tuple(names), None, lambda size: _shapes(objects, size))


def _shapes(objects: list[tuple[str, np.ndarray]], size: Size) -> Iterator[Shape]:
    for name, shares in objects:
        if len(shares) == _BOX:
            (x, y), (width, height) = shares[:2] * size, shares[2:] * size
            outline = box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        else:
            outline = points_of(shares) * size
        yield Shape(name, fill([outline], size))


def _objects(path: Path, names: list[str]) -> list[tuple[str, np.ndarray]]:
    """The class and the numbers after it of each line."""
    objects = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        with blamed(f'{path}: line {number}'):
            objects.append(_object(line.split(), names))
    return objects


def _object(words: list[str], names: list[str]) -> tuple[str, np.ndarray]:
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError:
        raise UserError('must be numbers') from None
    if len(numbers) < 5 or len(numbers) % 2 == 0 or not np.isfinite(numbers).all():
        raise UserError('must be a class and pairs of numbers: the points of an outline')
    label = numbers[0]
    if label not in range(len(names)):
        raise UserError(f'there is no class {label:g}: names are given for 0 to {len(names) - 1}')
    return names[int(label)], numbers[1:]


def _names(root: Path) -> list[str]:
    """The names of classes, from the first file in or above the folder that has some."""
    for folder in (root, root.parent):
        for pattern in _NAME_FILES:
            for path in sorted(folder.glob(pattern)):
                names = [str(name).strip() for name in _names_in(path)]
                if names:
                    return names
    raise UserError(
        f'{root} has no data.yaml with names, and no classes.txt: write one, a class a line'
    )


def _names_in(path: Path) -> list:
    text = read_text(path)
    if path.suffix not in ('.yaml', '.yml'):
        return [line for line in text.splitlines() if line.strip()]
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise UserError(f'{path}: is no YAML that can be read') from None
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise UserError(f'{path}: names must be numbered from 0')
        names = [names[number] for number in range(len(names))]
    return names if isinstance(names, list) else []
