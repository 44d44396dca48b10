"""What every format is turned into: drawings of shapes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Size = tuple[int, int]  # width and height
IGNORED = '__ignore__'  # LabelMe's name for what belongs to no class


class Shape(NamedTuple):
    """What somebody drew.

    Attributes:
        name: Its class, or :data:`IGNORED`.
        mask: Its pixels (H, W), bool; None if it has no area, such as a line.
    """

    name: str
    mask: np.ndarray | None


@dataclass(frozen=True)
class Drawing:
    """All shapes of an image.

    Attributes:
        source: The file that has them, for messages.
        names: What the image may be called, most likely first: paths below the images' folder or
            the ends of such paths, with or without suffix.
        size: Of the picture it was drawn on; None if it fits any.
        shapes: Gives the shapes for a picture of some size, bottom first. It raises
            :class:`mmseg_faseg.errors.UserError` for what cannot be read.
    """

    source: str
    names: tuple[str, ...]
    size: Size | None
    shapes: Callable[[Size], Iterable[Shape]]


@dataclass
class Annotations:
    """What a format's reader found.

    Attributes:
        classes: Names, in the order of their ids.
        drawings: One an image.
        places: Where images usually lie, relative to the annotations' folder.
        problems: A line for each file, or part of one, that cannot be read.
        listed: Whether the format lists all classes, or these are just those that were drawn.
        rest: The class of pixels that nobody painted; None if they are ignored.
        colours: RGB of classes that have one.
    """

    classes: list[str]
    drawings: list[Drawing]
    places: tuple[str, ...]
    problems: list[str] = field(default_factory=list)
    listed: bool = True
    rest: str | None = 'other'
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
