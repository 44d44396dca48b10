"""What MMDetection takes from panopticapi, which no package index has: ids as colours, and PQ.

Where panopticapi is installed it is used.
"""

import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

_NAME = 'panopticapi'
_OFFSET = 256**3  # more than any id
_VOID = 0  # id of pixels without a segment


def ensure_importable() -> None:
    """Imports panopticapi, or puts a stand-in in its place."""
    try:
        importlib.import_module(_NAME)
        return
    except ModuleNotFoundError as error:
        if error.name != _NAME:
            raise
    package = ModuleType(_NAME, __doc__)
    package.__path__ = []
    utils, evaluation = (ModuleType(f'{_NAME}.{name}') for name in ('utils', 'evaluation'))
    vars(utils).update(rgb2id=rgb2id, id2rgb=id2rgb)
    vars(evaluation).update(OFFSET=_OFFSET, VOID=_VOID, PQStat=PanopticQuality)
    vars(package).update(utils=utils, evaluation=evaluation)
    for module in (package, utils, evaluation):
        sys.modules[module.__name__] = module


def rgb2id(colours: np.ndarray) -> np.ndarray:
    """Ids (...) of colours (..., 3): R + 256 G + 256 ** 2 B, as COCO's panoptic format has it."""
    colours = np.asarray(colours).astype(np.int32)
    return colours @ np.array([1, 256, 256**2], np.int32)


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of ids (...), 8 bits each."""
    ids = np.asarray(ids)[..., None]
    return (ids // np.array([1, 256, 256**2]) % 256).astype(np.uint8)


@dataclass
class _Counts:
    """Of one class."""

    iou: float = 0.0  # sum over matched segments
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __iadd__(self, other: '_Counts') -> '_Counts':
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self


class PanopticQuality:
    """Counts of all classes, and their panoptic quality (Kirillov et al., CVPR 2019)."""

    def __init__(self) -> None:
        self._counts: dict[int, _Counts] = defaultdict(_Counts)

    def __getitem__(self, category: int) -> _Counts:
        return self._counts[category]

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)

    def __iadd__(self, other: 'PanopticQuality') -> 'PanopticQuality':
        for category in other:
            self._counts[category] += other[category]
        return self

    def pq_average(
        self, categories: Mapping[int, Mapping], isthing: bool | None
    ) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
        """Means over the classes that occur, in the truth or in the predictions.

        Args:
            categories: By id, with ``isthing``.
            isthing: Of things alone, of stuff alone, or of all if None.

        Returns:
            ``pq``, ``sq``, ``rq`` and the number of classes ``n``; and the first three by class,
            0 where it does not occur.
        """
        by_class, occurring = {}, []
        for category, info in categories.items():
            if isthing is not None and isthing != bool(info['isthing']):
                continue
            own = self._counts[category]
            total = own.tp + own.fp / 2 + own.fn / 2
            by_class[category] = dict(
                pq=own.iou / total if total else 0.0,
                sq=own.iou / own.tp if own.tp else 0.0,
                rq=own.tp / total if total else 0.0,
            )
            if total:
                occurring.append(by_class[category])
        number = len(occurring)
        means = {
            key: sum(one[key] for one in occurring) / number if number else 0.0
            for key in ('pq', 'sq', 'rq')
        }
        return {**means, 'n': number}, by_class
