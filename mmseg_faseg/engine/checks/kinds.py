"""Which checks are made of data: of label maps for segmentors, of segments for detectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import BaseDataset

from . import annotations, datasets
from .annotation_file import Annotations
from .pairs import Expected
from .reading import PairReader, Reader
from .segment_reading import SegmentReader
from .segments import ExpectedSegments


@dataclass(frozen=True)
class Kind:
    """The checks of one kind of data. ``expected`` below is what ``expected`` here gives.

    Attributes:
        expected: What a model takes; None if it does not take this kind.
        about: What ``refused`` and ``warned`` look at, of a data set.
        refused: Generators of reasons not to start, from that and ``expected``.
        warned: Generators of plausible mistakes, the same.
        warned_between: The same from a data set of training and one of validation.
        reader: Reads and checks images.
        warned_together: Generators of plausible mistakes from what was seen of all images of a
            data set and ``expected``.
        absent_classes: Says which classes do not occur in the data sets of a loop, from these, the
            counts of label ids, ``expected`` and the number of files; None if all do.
        shown_classes: What to log then.
    """

    expected: Callable[[Any], Any]
    about: Callable[[BaseDataset], Any]
    refused: tuple[Callable, ...]
    warned: tuple[Callable, ...]
    warned_between: tuple[Callable, ...]
    reader: type[Reader]
    warned_together: tuple[Callable, ...]
    absent_classes: Callable[..., str | None]
    shown_classes: Callable[..., str]


LABEL_MAPS = Kind(
    expected=Expected.by,
    about=lambda dataset: dataset,
    refused=datasets.REFUSED,
    warned=datasets.WARNED,
    warned_between=datasets.WARNED_BETWEEN,
    reader=PairReader,
    warned_together=(),
    absent_classes=datasets.absent_classes,
    shown_classes=datasets.shown_classes,
)
SEGMENTS = Kind(
    expected=ExpectedSegments.by,
    about=Annotations.of,
    refused=annotations.REFUSED,
    warned=annotations.WARNED,
    warned_between=(datasets.class_order, datasets.train_in_val),
    reader=SegmentReader,
    warned_together=annotations.WARNED_TOGETHER,
    absent_classes=annotations.absent_classes,
    shown_classes=annotations.shown_classes,
)


def kind_of(model: Any) -> tuple[Kind, Any] | None:
    """Which data a model takes, and what it expects of them; None if neither kind is known."""
    found = ((kind, kind.expected(model)) for kind in (LABEL_MAPS, SEGMENTS))
    return next(((kind, expected) for kind, expected in found if expected is not None), None)
