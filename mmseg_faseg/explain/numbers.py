"""Numbers that say how a focus lies to a mask."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F


class FocusNumbers(NamedTuple):
    """Of one query in one layer; nan where there is no answer.

    Attributes:
        entropy: How spread out the focus is: its entropy as a share of the largest possible on the
            level, 0 (a single token) to 1 (all tokens alike).
        inside: How much of the focus lies inside the final mask, 0 to 1.
        distance: From the centre of the focus to that of the final mask, as a share of the image's
            diagonal.
    """

    entropy: float
    inside: float
    distance: float


def focus_numbers(focus: np.ndarray, mask: np.ndarray, image_size: tuple[int, int]) -> FocusNumbers:
    """Measures a focus.

    Args:
        focus: A of one query, probabilities on the tokens of a level, (h, w).
        mask: Its final mask on the network's input, bool (H, W); h x w tokens cover all of it.
        image_size: (H, W) of the image in the input, without padding.
    """
    focus = focus.astype(np.float64)
    inside = distance = math.nan
    if mask.any():
        cells = F.adaptive_avg_pool2d(torch.from_numpy(mask).double()[None, None], focus.shape)
        inside = float((focus * cells[0, 0].numpy()).sum())
        apart = np.subtract(_centre(focus, mask.shape), _centre(mask, mask.shape))
        distance = float(np.hypot(*apart) / np.hypot(*image_size))
    return FocusNumbers(_entropy(focus), inside, distance)


def mean_numbers(numbers: list[FocusNumbers]) -> FocusNumbers:
    """Means of those that there are; nan of none."""
    columns = (
        [value for value in column if not math.isnan(value)]
        for column in zip(*numbers, strict=True)
    )
    return FocusNumbers(*(float(np.mean(c)) if c else math.nan for c in columns))


def _entropy(focus: np.ndarray) -> float:
    """As a share of the largest possible."""
    if focus.size == 1:
        return math.nan
    some = focus[focus > 0]
    return float(-(some * np.log(some)).sum() / math.log(focus.size))


def _centre(weights: np.ndarray, size: tuple[int, ...]) -> tuple[float, float]:
    """Centre (y, x) in pixels of weights whose cells cover an area (H, W) evenly."""
    total = weights.sum()
    rows = (np.arange(weights.shape[0]) + 0.5) * size[0] / weights.shape[0]
    cols = (np.arange(weights.shape[1]) + 0.5) * size[1] / weights.shape[1]
    return float(weights.sum(1) @ rows / total), float(weights.sum(0) @ cols / total)
