"""Which classes the label maps of a folder show, and by which values."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..explain.palette import default_palette
from ..labels.classes import REST_NAMES
from ..labels.fields import read_text
from ..labels.maps import IGNORE
from .survey import Survey

CLASS_LIST = 'classes.txt'  # beside label maps, a line each, as `faseg convert` writes it
_MOST = 255  # values 0 to 254
_FEW = 32  # values that classes may have beside black and white
_GREY = [110, 110, 110]


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
        """A colour (red, green, blue) for each, grey for what is no class of interest."""
        colours = iter(default_palette(len(self.names)))
        return [_GREY if name.lower() in REST_NAMES else list(next(colours)) for name in self.names]


def classes_of(
    found: Survey, names: Sequence[str] | None = None, values: Sequence[int] | None = None
) -> Classes:
    """Decides on the classes.

    Label maps in black and white, and two classes, mean that 255 is the second one. Without names
    they are read from ``classes.txt`` beside the label maps, or made up by number.

    Args:
        found: What was seen.
        names: As the user gave them.
        values: The value of each class in label maps, as the user gave them.

    Raises:
        UserError: Names or values are no list of classes.
    """
    if names is None:
        names = listed_names(found) or _made_up(found, values)
    names = tuple(names)
    _check(names, values)
    if values is None and is_black_and_white(found) and len(names) == 2:
        values = (0, IGNORE)
    return Classes(names, None if values is None else tuple(values))


def listed_names(found: Survey) -> list[str]:
    """Names in ``classes.txt`` beside the label maps; none without that file.

    Raises:
        UserError: It cannot be read.
    """
    path = Path(found.labels or '.', CLASS_LIST)
    if found.labels is None or not path.is_file():
        return []
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def is_black_and_white(found: Survey) -> bool:
    """Whether label maps hold 0 and 255 only, but for edges that were smoothed."""
    return set(found.values) == {0, IGNORE} or is_smoothed(found)


def is_smoothed(found: Survey) -> bool:
    """Whether label maps in black and white have so many greys that something smoothed them."""
    pixels = found.values
    greys = set(pixels) - {0, IGNORE}
    clear = pixels[0] + pixels[IGNORE]
    return len(greys) > _FEW and 0 < pixels[0] < clear and clear > 0.8 * pixels.total()


def _made_up(found: Survey, values: Sequence[int] | None) -> list[str]:
    if values is not None:
        return [f'value {value}' for value in values]
    if is_black_and_white(found):
        return ['background', 'object']
    numbers = [value for value in found.values if 0 <= value < _MOST]
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
    if not fits or not all(0 <= value <= IGNORE for value in values):
        raise UserError(
            f'--label-values takes one value from 0 to 255 for each of the {len(names)} classes, '
            f'all different, got {" ".join(map(str, values))}'
        )
