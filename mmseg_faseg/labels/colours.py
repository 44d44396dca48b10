"""Colour masks: a picture for each image, and a table of which colour means which class."""

import csv
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.folders import LABEL_SUFFIXES
from ..errors import UserError
from .drawing import Annotations, Drawing, Shape
from .fields import blamed, files_in, folder_of, read_json, read_text
from .images import opened

Colour = tuple[int, int, int]
Table = list[tuple[str, Colour]]

_PLACES = ('../images', '../JPEGImages')
_TABLE_FILE = 'labelmap.txt'  # CVAT's and VOC's
_ENDS = ('_L', '_mask', '_label', '_labels', '_color', '_colour', '_gt')


def read(source: Path, table: Path | None = None) -> Annotations:
    """Reads a file, or all pictures below a folder.

    Classes are in the order of the table. One may have several colours.

    Args:
        source: The file or folder.
        table: A file with ``name:r,g,b`` or ``name,r,g,b`` lines, or JSON; if None,
            ``labelmap.txt`` in the folder or beside it.

    Raises:
        UserError: There are no such files, or the table cannot be read.
    """
    root = folder_of(source)
    files = files_in(source, *LABEL_SUFFIXES)
    found = table or find_table(root)
    if found is None:
        raise UserError(f'there is no {_TABLE_FILE} in {root}: name a table with --colours')
    colours = read_table(found)
    drawings, problems = [], []
    for path in files:
        try:
            with opened(path) as image:
                size = image.size
        except UserError as error:
            problems.append(str(error))
            continue
        stem = path.relative_to(root).with_suffix('').as_posix()
        ends = [stem.removesuffix(end) for end in _ENDS if stem.endswith(end)]

        def shapes(_: Any, path: Path = path) -> Iterator[Shape]:
            return _shapes(path, colours)

        drawings.append(Drawing(str(path), (stem, *ends), size, shapes))
    names = list(dict.fromkeys(name for name, _ in colours))
    return Annotations(names, drawings, _PLACES, problems, colours=dict(reversed(colours)))


def find_table(root: Path) -> Path | None:
    """The table of colours in a folder of masks, or beside it."""
    places = (root / _TABLE_FILE, root.parent / _TABLE_FILE)
    return next((path for path in places if path.is_file()), None)


def count_colours(source: Path, progress: Any = iter) -> Counter[Colour]:
    """How many pixels of each colour the pictures have; those that cannot be read are left out.

    Raises:
        UserError: There are no pictures.
    """
    counts: Counter[Colour] = Counter()
    for path in progress(files_in(source, *LABEL_SUFFIXES)):
        try:
            codes, numbers = np.unique(_codes(path), return_counts=True)
        except UserError:
            continue
        for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
            counts[code >> 16, code >> 8 & 255, code & 255] += number
    return counts


def _shapes(path: Path, table: Table) -> Iterator[Shape]:
    codes = _codes(path)
    known = {red << 16 | green << 8 | blue: name for name, (red, green, blue) in table}
    found, counts = np.unique(codes, return_counts=True)
    strange = [code for code in found.tolist() if code not in known]
    if strange:
        share = counts[np.isin(found, strange)].sum() / codes.size
        example = ','.join(str(strange[0] >> shift & 255) for shift in (16, 8, 0))
        raise UserError(
            f'{len(strange)} colours that the table has not, such as {example}, on {share:.2%} of '
            'the pixels'
        )
    for code in found.tolist():
        yield Shape(known[code], codes == code)


def _codes(path: Path) -> np.ndarray:
    """Colours (H, W) as whole numbers."""
    with opened(path) as image:
        if image.mode not in ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA'):
            raise UserError(f'is no picture in colours of 8 bits, but of mode {image.mode}')
        rgb = np.asarray(image.convert('RGB')).astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def read_table(path: Path) -> Table:
    """Names and colours.

    Raises:
        UserError: It cannot be read, or gives a colour to two classes.
    """
    if path.suffix.lower() == '.json':
        rows: Iterable[tuple[Any, Any]] = _json_rows(read_json(path))
    else:
        rows = _text_rows(read_text(path))
    table: Table = []
    with blamed(str(path)):
        for name, value in rows:
            if not isinstance(name, str) or not name.strip():
                raise UserError(f'a name is needed, got {reprlib.repr(name)}')
            table.append((name.strip(), _colour(value, name)))
        by_colour: dict[Colour, str] = {}
        for name, colour in table:
            if by_colour.setdefault(colour, name) != name:
                raise UserError(f'{by_colour[colour]} and {name} have the colour {colour}')
        if not table:
            raise UserError('has no line like road:128,64,128')
    return table


def _json_rows(content: Any) -> list[tuple[Any, Any]]:
    """From ``{"road": [128, 64, 128]}`` or ``[{"name": "road", "color": "#804080"}]``."""
    if isinstance(content, dict):
        return list(content.items())
    entries = content if isinstance(content, list) else []
    entries = [one for one in entries if isinstance(one, dict)]
    return [(one.get('name'), one.get('color', one.get('colour'))) for one in entries]


def _text_rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """From ``road:128,64,128::`` or ``road,128,64,128``; a line of headings is left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith('#')]
    for number, line in enumerate(lines):
        if ':' in line:
            name, _, value = line.rpartition(':') if line.count(':') == 1 else line.partition(':')
            yield name, value.split(':')[0].split(',')
            continue
        name, *values = next(csv.reader([line.replace(';', ',').replace('\t', ',')]), [''])
        if number or any(value.strip().isdigit() for value in values):
            yield name, values[:3]


def _colour(value: Any, name: str) -> Colour:
    if isinstance(value, str) and re.fullmatch('#[0-9a-fA-F]{6}', value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:], 16)
    try:
        red, green, blue = (int(part) for part in value)
    except (ValueError, TypeError):
        red = green = blue = -1
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise UserError(
            f'{name}: a colour is three numbers from 0 to 255, got {reprlib.repr(value)}'
        )
    return red, green, blue
