"""Parts data into training and validation such that images of both do not look alike."""

import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .classes import Classes
from .survey import Looked, Survey

_ALIKE = 5  # images whose sketches differ in so many of 64 places look the same
_TRIES = 50


class Split(NamedTuple):
    """Names of images to train on, and of those to validate on."""

    train: list[str]
    val: list[str]


def split(found: Survey, classes: Classes, val: str, seed: int = 0) -> Split:
    """Chooses images to validate on.

    By a share or a number they are drawn such that images which look alike stay together and, where
    that is possible, that every class occurs in both parts, in training first.

    Args:
        found: What was seen; of it two pairs or more can be read, and those are taken.
        classes: What the labels mean.
        val: A share, ``'20%'``; a number of images, ``'30'``; or a file that lists names, a line
            each, with or without suffix.
        seed: Of the draw.

    Raises:
        UserError: ``val`` is none of these, or leaves nothing for one of the parts.
    """
    pairs = found.pairs
    if Path(val).is_file():
        return _listed(pairs, val)
    count = _count(val, len(pairs))
    groups = [part for group in look_alikes(pairs) for part in _parts(group, count)]
    draws = (_draw(pairs, groups, count, seed + place) for place in range(_TRIES))
    return min(draws, key=lambda draw: _missing(pairs, draw, classes))


def look_alikes(pairs: Sequence[Looked]) -> list[list[int]]:
    """Groups images that look almost the same, such as frames of a video; by their places."""
    sketches = np.array([pair.sketch for pair in pairs], np.float32)
    ones = sketches.sum(1)
    group = np.arange(len(pairs))
    for place in range(len(pairs)):
        differ = ones[place] + ones[: place + 1] - 2 * sketches[: place + 1] @ sketches[place]
        joined = np.unique(group[: place + 1][differ <= _ALIKE])
        group[np.isin(group, joined)] = joined[0]
    return [np.flatnonzero(group == number).tolist() for number in np.unique(group)]


def shared_looks(pairs: Sequence[Looked], parts: Split) -> list[tuple[str, str]]:
    """Names of images to train on, each with one to validate on that looks the same."""
    val = set(parts.val)
    found = []
    for group in look_alikes(pairs):
        names = [pairs[place].name for place in group]
        inside = [name for name in names if name in val]
        outside = [name for name in names if name not in val]
        found += [(name, inside[0]) for name in outside if inside]
    return found


def _listed(pairs: list[Looked], file: str) -> Split:
    text = Path(file).read_text(encoding='utf-8', errors='surrogateescape')
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    known = {pair.name for pair in pairs}
    names = {line if line in known else os.path.splitext(line)[0] for line in lines}
    unknown = sorted(names - known)
    if unknown:
        raise UserError(
            f'--val: {file} lists {unknown[0]!r}, which is no image with a label map '
            f'({len(unknown)} of {len(lines)} lines)'
        )
    parts = Split(sorted(known - names), sorted(names))
    if not all(parts):
        raise UserError(f'--val: {file} lists {len(names)} of {len(known)} images: none is left')
    return parts


def _count(val: str, images: int) -> int:
    match = re.fullmatch(r'(\d+(?:\.\d+)?)\s*(%?)', val.strip())
    if match is None:
        raise UserError(
            f'--val takes a share such as 20%, a number of images or a file of names, got {val!r}'
        )
    number = float(match[1])
    count = round(images * number / 100) if match[2] else number
    if match[2] and 0 < number < 100:
        count = min(max(count, 1), images - 1)
    if count != int(count) or not 1 <= count < images:
        raise UserError(f'--val {val} of {images} images with label maps: 1 to {images - 1} can be')
    return int(count)


def _parts(group: list[int], count: int) -> list[list[int]]:
    """A group, or pieces of one that is too long for either side, such as a film."""
    if len(group) <= count:
        return [group]
    length = max(1, count // 2)
    return [group[start : start + length] for start in range(0, len(group), length)]


def _draw(pairs: list[Looked], groups: list[list[int]], count: int, seed: int) -> Split:
    """Draws whole groups as long as they fit."""
    order = list(groups)
    random.Random(seed).shuffle(order)
    chosen: set[int] = set()
    for group in order:
        if len(chosen) + len(group) <= count:
            chosen.update(group)
    parts = Split([], [])
    for place, pair in enumerate(pairs):
        parts[place in chosen].append(pair.name)
    return parts


def _missing(pairs: list[Looked], parts: Split, classes: Classes) -> tuple[int, int]:
    """How many classes occur in no image to train on, and in none to validate on."""
    by_name = {pair.name: pair for pair in pairs}
    occurs = [
        {value for name in part for value in by_name[name].values if value in classes.number_of}
        for part in parts
    ]
    train, val = (len(classes.names) - len(values) for values in occurs)
    return train, val
