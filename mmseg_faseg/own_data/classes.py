"""Which classes the label maps of a folder show, and by which values."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .survey import Survey

IGNORED = 255
CLASS_LIST = 'classes.txt'  # beside label maps, a line each, as `faseg convert` writes it
_MOST = 254


class Classes(NamedTuple):
    """Classes of a data set.

    Attributes:
        names: In the order of their numbers.
        values: The value of each in label maps; None where that is its number.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | None = None

    @property
    def number_of(self) -> dict[int, int]:
        """Class numbers by values in label maps."""
        values = range(len(self.names)) if self.values is None else self.values
        return {value: number for number, value in enumerate(values)}

    @property
    def palette(self) -> list[list[int]]:
        """A colour (red, green, blue) for each, as different as can be."""
        return [colour_of(number) for number in range(len(self.names))]


def colour_of(number: int) -> list[int]:
    """The colour of a class number: PASCAL VOC's, by the bits of ``number``, black for 0."""
    channels = np.zeros(3, int)
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> channel & 1) << 7 - place
        number >>= 3
    return channels.tolist()


def classes_of(
    found: Survey, names: Sequence[str] | None = None, values: Sequence[int] | None = None
) -> Classes:
    """Decides on the classes.

    Label maps of 0 and 255 alone, and two classes, mean that 255 is the second one. Without names
    they are read from ``classes.txt`` beside the label maps, or made up by number.

    Args:
        found: What was seen.
        names: As the user gave them.
        values: The value of each class in label maps, as the user gave them.

    Raises:
        UserError: Names or values are no list of classes.
    """
    if names is None:
        names = _listed(found) or _made_up(found, values)
    names = tuple(names)
    _check(names, values)
    if values is None and set(found.values) == {0, IGNORED} and len(names) == 2:
        values = (0, IGNORED)
    return Classes(names, None if values is None else tuple(values))


def _listed(found: Survey) -> list[str]:
    path = Path(found.labels or '.', CLASS_LIST)
    if found.labels is None or not path.is_file():
        return []
    return [line.strip() for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]


def _made_up(found: Survey, values: Sequence[int] | None) -> list[str]:
    if values is not None:
        return [f'value {value}' for value in values]
    present = set(found.values)
    if present == {0, IGNORED}:
        return ['background', 'object']
    numbers = [value for value in present if 0 <= value <= _MOST]
    return [f'class {number}' for number in range(max(numbers, default=1) + 1)]


def _check(names: tuple[str, ...], values: Sequence[int] | None) -> None:
    if len(names) < 2:
        raise UserError(
            f'--classes takes two names or more, got {" ".join(names)}: every pixel is of a class, '
            'so name what is none too, as in --classes background car'
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(names) > _MOST or not all(name.strip() for name in names):
        what = f'{twice[0]!r} twice' if twice else f'{len(names)} names'
        raise UserError(f'--classes takes different names, {_MOST} at most, got {what}')
    if values is None:
        return
    fits = len(set(values)) == len(values) == len(names)
    if not fits or not all(0 <= value <= IGNORED for value in values):
        raise UserError(
            f'--label-values takes one value from 0 to 255 for each of the {len(names)} classes, '
            f'all different, got {" ".join(map(str, values))}'
        )
