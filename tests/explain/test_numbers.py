"""Numbers of a focus against their plain formulas."""

import math

import numpy as np
import pytest

from mmseg_faseg.explain.numbers import FocusNumbers, focus_numbers, mean_numbers


def plain(focus, mask, image_size):
    """Token by token, pixel by pixel."""
    (rows, cols), (height, width) = focus.shape, mask.shape
    entropy = inside = 0.0
    centre = [0.0, 0.0]
    for row in range(rows):
        for col in range(cols):
            share = float(focus[row, col])
            entropy -= share * math.log(share)
            cell = mask[
                row * height // rows : (row + 1) * height // rows,
                col * width // cols : (col + 1) * width // cols,
            ]
            inside += share * cell.mean()
            centre[0] += share * (row + 0.5) * height / rows
            centre[1] += share * (col + 0.5) * width / cols
    pixels = [(y + 0.5, x + 0.5) for y in range(height) for x in range(width) if mask[y, x]]
    middle = [sum(pixel[axis] for pixel in pixels) / len(pixels) for axis in (0, 1)]
    return FocusNumbers(
        entropy / math.log(rows * cols),
        inside,
        math.dist(centre, middle) / math.hypot(*image_size),
    )


@pytest.mark.parametrize('tokens', [(2, 3), (4, 6), (8, 12)])
def test_equal_plain_formulas(tokens):
    rng = np.random.default_rng(0)
    focus = rng.random(tokens)
    focus /= focus.sum()
    mask = rng.random((16, 24)) < 0.3
    numbers = focus_numbers(focus, mask, (15, 20))
    np.testing.assert_allclose(numbers, plain(focus, mask, (15, 20)), rtol=1e-12)


def test_even_focus_is_inside_as_much_as_the_mask_covers():
    mask = np.zeros((32, 64), bool)
    mask[:8] = True
    numbers = focus_numbers(np.full((4, 8), 1 / 32), mask, (32, 64))
    assert numbers.entropy == pytest.approx(1)
    assert numbers.inside == pytest.approx(0.25)
    assert numbers.distance == pytest.approx(12 / math.hypot(32, 64))


def test_a_single_token_has_no_entropy():
    focus = np.zeros((4, 4), np.float32)
    focus[1, 2] = 1
    mask = np.zeros((32, 32), bool)
    mask[8:16, 16:24] = True
    assert focus_numbers(focus, mask, (32, 32)) == (0, 1, 0)


def test_what_has_no_answer_is_nan():
    empty = focus_numbers(np.full((2, 2), 0.25), np.zeros((8, 8), bool), (8, 8))
    assert empty.entropy == pytest.approx(1)
    assert math.isnan(empty.inside) and math.isnan(empty.distance)
    assert math.isnan(focus_numbers(np.ones((1, 1)), np.ones((8, 8), bool), (8, 8)).entropy)


def test_means_leave_out_nan():
    numbers = [FocusNumbers(0.2, math.nan, math.nan), FocusNumbers(0.4, 0.5, math.nan)]
    mean = mean_numbers(numbers)
    assert mean[:2] == pytest.approx((0.3, 0.5))
    assert math.isnan(mean.distance)
