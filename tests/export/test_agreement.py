"""How far results are from one another, and how calls are timed."""

import numpy as np

from mmseg_faseg.export.agreement import Agreement, median_seconds


def test_agreement_counts_pixels_and_names_the_worst_picture():
    classes, scores = np.zeros((2, 5), np.uint8), np.zeros((3, 2, 5), np.float32)
    other, others = classes.copy(), scores.copy()
    other[0, 0], others[1, 1, 2] = 1, -0.25
    large = np.zeros((3, 10), np.uint8), np.zeros((3, 3, 10), np.float32)
    found = Agreement.of([(classes, scores), large], [(other, others), large])
    assert found == Agreement(2, 39 / 40, 9 / 10, 0.25)


def test_calls_take_turns():
    turns = []
    first, second = median_seconds(lambda: turns.append(1), lambda: turns.append(2), rounds=3)
    assert turns == [1, 2] * 4
    assert first > 0 and second > 0
