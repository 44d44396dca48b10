"""How many images the parts of a data set have, and how many pixels each class has in them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.dataset import BaseDataset

from ..engine.checks.pairs import Expected
from ..engine.checks.reading import PairReader
from ..engine.checks.seen import SeenFiles
from ..engine.data_check import _with_outer

Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class Part:
    """A part of the data, as training or validation takes it.

    Attributes:
        name: Such as ``train``.
        num_images: All of them,
        num_counted: and those whose label maps were counted.
        pixels: By label id, those that are ignored included.
        images: How many images have a label id.
        problems: What the data check refuses, a line for each image, which is not counted.
    """

    name: str
    num_images: int
    num_counted: int
    pixels: Counter[int]
    images: Counter[int]
    problems: list[str]

    def share(self, label: int) -> float:
        """Of all counted pixels, 0 to 1, that have a label id."""
        return self.pixels[label] / max(1, self.pixels.total())


def count_part(
    name: str,
    dataset: BaseDataset,
    expected: Expected,
    skipped: Collection[str],
    limit: int | None,
    progress: Progress,
) -> Part:
    """Counts the pixels of a data set's label maps.

    Maps that the data check before training has seen are not read again.

    Args:
        name: Of the part.
        dataset: Wrappers such as ``ConcatDataset`` included, which may repeat images.
        expected: What the model takes.
        skipped: Names of checks that the config leaves out.
        limit: Of images that are counted, evenly spread.
        progress: Shows how far the counting is.
    """
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    problems: list[str] = []
    counted = 0
    for leaf, outer in _with_outer(dataset):
        reader = PairReader(leaf, spread(len(leaf), limit), expected, skipped, outer)
        remembered = SeenFiles(reader)
        for place in progress(range(len(reader))):
            seen = remembered.get(reader.info(place)) or reader[place]
            remembered.add(reader.info(place), seen)
            if seen.problem is not None:
                problems.append(seen.problem[1])
            elif seen.labelled:
                counted += 1
                pixels.update(seen.counts)
                images.update(seen.counts.keys())
        remembered.save()
    return Part(name, len(dataset), counted, pixels, images, problems)


def spread(count: int, limit: int | None) -> list[int]:
    """Indices of all of ``count`` images, or of ``limit`` of them, evenly spread."""
    chosen = count if limit is None else min(limit, count)
    return np.linspace(0, count - 1, chosen).round().astype(int).tolist()
