"""Whether a file gives what the model gives, and how long each takes."""

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

# Class map (H, W) and class scores (K, H, W) of a picture, RGB (H, W, 3) uint8.
Result = tuple[np.ndarray, np.ndarray]


class Agreement(NamedTuple):
    """How far a file's results are from the model's on some pictures.

    Attributes:
        pictures: Their number.
        equal: Share of pixels with the same class.
        worst: The same of the picture on which it is least.
        score_difference: The largest difference of a class score.
    """

    pictures: int
    equal: float
    worst: float
    score_difference: float

    @classmethod
    def of(cls, expected: Sequence[Result], got: Sequence[Result]) -> 'Agreement':
        """Compares results picture by picture."""
        pairs = [*zip(expected, got, strict=True)]
        equal = [float((theirs[0] == ours[0]).mean()) for theirs, ours in pairs]
        pixels = [theirs[0].size for theirs, _ in pairs]
        differences = [float(np.abs(theirs[1] - ours[1]).max()) for theirs, ours in pairs]
        return cls(
            len(pairs),
            float(np.average(equal, weights=pixels)),
            min(equal),
            max(differences),
        )


def median_seconds(*calls: Callable[[], object], rounds: int = 7) -> list[float]:
    """What each of some calls takes; they take turns, and begin with a turn that does not count."""
    times: list[list[float]] = [[] for _ in calls]
    for counts in [False] + [True] * rounds:
        for call, seconds in zip(calls, times, strict=True):
            start = perf_counter()
            call()
            if counts:
                seconds.append(perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]
