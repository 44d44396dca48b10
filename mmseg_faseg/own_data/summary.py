"""What there is in folders of photos and labels, in numbers and on a page."""

import base64
import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
from PIL import Image, ImageOps

from ..explain.overlay import overlay
from ..files import whole_file
from ..labels.maps import IGNORE
from .classes import Classes
from .examine import Examined
from .survey import Looked

_PICTURES = 6
_WIDTH = 400  # pixels
_SIZES = 10


class Row(NamedTuple):
    """A class in the label maps.

    Attributes:
        name: Of the class, or what else pixels are.
        value: In the label maps.
        images: How many show it.
        share: Of all pixels, 0 to 1.
        colour: For a chart, ``'#rrggbb'``.
    """

    name: str
    value: int
    images: int
    share: float
    colour: str


def class_rows(examined: Examined) -> list[Row]:
    """A row for each class, and for what is ignored or no class."""
    if examined.classes is None:
        return []
    total, images = Counter(), Counter()  # type: Counter[int], Counter[int]
    for one in (examined.used if examined.left_out else examined.found).pairs:
        total.update(one.values)
        images.update(one.values.keys())
    pixels = max(total.total(), 1)
    known = examined.classes.number_of
    palette = examined.classes.palette
    rows = [
        Row(
            examined.classes.names[number],
            value,
            images[value],
            total[value] / pixels,
            '#{:02x}{:02x}{:02x}'.format(*palette[number]),
        )
        for value, number in known.items()
    ]
    for value in sorted(set(total) - set(known)):
        name = 'ignored' if value == IGNORE else 'no class'
        rows.append(Row(name, value, images[value], total[value] / pixels, '#bbbbbb'))
    return rows


def summary(examined: Examined) -> str:
    """How many files there are, in a sentence."""
    looked, used = examined.found.looked, examined.used
    text = f'{len(looked)} images'
    if examined.found.labels is not None:
        text += f', {len(used.pairs)} of them with a label map that can be trained on'
    if examined.parts is not None:
        text += (
            f': {len(examined.parts.train)} to train on, {len(examined.parts.val)} to validate on'
        )
    return f'{text}.'


def verdict(examined: Examined) -> str:
    """Whether training would start, in a sentence."""
    stops = f'{examined.stops} finding{"s" * (examined.stops > 1)} to mend first'
    if examined.found.labels is None:
        return f'Photos without labels: {stops if examined.stops else "they can be predicted"}.'
    return f'Training would not start: {stops}.' if examined.stops else 'Training would start.'


def sizes(examined: Examined) -> list[tuple[str, int]]:
    """The most frequent sizes of images, as seen."""
    counts = Counter(
        f'{one.size[1]} x {one.size[0]}' for one in examined.found.looked if one.problem is None
    )
    return counts.most_common(_SIZES)


def save_page(examined: Examined, file: Path) -> None:
    """Writes everything as one HTML file that needs no other.

    Raises:
        UserError: It cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string(
        Path(__file__).with_name('page.html').read_text(encoding='utf-8')
    )
    text = template.render(
        images=examined.found.images,
        labels=examined.found.labels,
        well=not examined.stops,
        verdict=verdict(examined),
        summary=summary(examined),
        findings=examined.findings,
        rows=class_rows(examined),
        sizes=sizes(examined),
        pictures=_pictures(examined),
    )
    with whole_file(file) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='replace')


class _Picture(NamedTuple):
    name: str
    source: str


def _pictures(examined: Examined) -> list[_Picture]:
    if examined.classes is None:
        return []
    pairs = [one for one in examined.used.pairs if one.values and one.label_size == one.size]
    places = np.linspace(0, len(pairs) - 1, min(_PICTURES, len(pairs))).astype(int)
    return [_painted(pairs[place], examined.classes) for place in places]


def _painted(pair: Looked, classes: Classes) -> _Picture:
    with Image.open(pair.image) as opened:
        image = ImageOps.exif_transpose(opened).convert('RGB')
    image.thumbnail((_WIDTH, _WIDTH))
    with Image.open(str(pair.labels)) as opened:
        values = np.asarray(
            Image.fromarray(np.asarray(opened).astype(np.int32)).resize(
                image.size, Image.Resampling.NEAREST
            )
        )
    labels = np.full(values.shape, IGNORE)
    for value, number in classes.number_of.items():
        labels[values == value] = number
    painted = io.BytesIO()
    Image.fromarray(overlay(np.asarray(image), labels, classes.palette)).save(painted, 'JPEG')
    encoded = base64.b64encode(painted.getvalue()).decode()
    return _Picture(pair.name, f'data:image/jpeg;base64,{encoded}')
