"""A legend stands beside the picture, whatever the picture's size."""

import numpy as np
import pytest

from mmseg_faseg.explain import default_palette, overlay, with_legend
from mmseg_faseg.explain.legend import room

ENTRIES = [
    ((200, 0, 0), 'road'),
    ((0, 200, 0), 'дерево'),
    ((0, 0, 200), 'a class with a long name'),
]


def rows_with(picture, colour):
    return np.flatnonzero((picture == colour).all(-1).any(1))


@pytest.mark.parametrize('size', [(1, 1), (64, 64), (1, 900), (900, 1), (400, 600), (3000, 3100)])
def test_nothing_of_the_picture_is_covered_and_every_class_is_there(size):
    picture = np.full((*size, 3), 77, np.uint8)
    found = with_legend(picture, ENTRIES)
    assert found.shape[:2] == room(size, ENTRIES)
    assert np.array_equal(found[: size[0], : size[1]], picture)
    column = found[:, size[1] :]
    tops = [rows_with(column, colour)[0] for colour, _ in ENTRIES]
    assert tops == sorted(tops) and len(set(tops)) == 3
    written = (column < 100).all(-1)
    assert written.any() and not written[:, -1].any() and not written[-1].any()


def test_letters_grow_with_the_picture():
    small, large = (
        with_legend(np.zeros((*size, 3), np.uint8), ENTRIES).shape[1] - size[1]
        for size in [(100, 100), (3000, 3000)]
    )
    assert large > 5 * small


def test_what_has_no_room_is_counted():
    picture = np.full((60, 60, 3), 77, np.uint8)
    many = [((index, 200, 0), f'class {index}') for index in range(9)]
    found = with_legend(picture, many, (60, 200))
    assert found.shape == (60, 200, 3)
    assert [len(rows_with(found, colour)) > 0 for colour, _ in many] == [True] + [False] * 8
    assert np.array_equal(with_legend(picture, many[:2], (60, 200)).shape, (60, 200, 3))


def test_no_classes_no_legend():
    picture = np.full((60, 60, 3), 77, np.uint8)
    assert np.array_equal(with_legend(picture, []), picture)


@pytest.mark.parametrize(('count', 'least'), [(2, 79), (12, 79), (20, 67), (150, 1)])
def test_colours_of_classes_can_be_told_apart(count, least):
    """The sum of differences in red, green and blue between the two that are most alike."""
    colours = np.array(default_palette(count), int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1)[~np.eye(count, dtype=bool)]
    assert apart.min() >= least
    assert colours.min() >= 0 and colours.max() <= 255


def test_large_overlays_are_painted_in_rows():
    image = np.random.default_rng(0).integers(0, 256, (201, 7, 3), dtype=np.uint8)
    labels = np.random.default_rng(1).integers(0, 4, (201, 7)).astype(np.uint8)
    colours = np.array([*default_palette(3), (0, 0, 0)], float)
    expected = (image * 0.35 + colours[labels] * 0.65 + 0.5).astype(np.uint8)
    assert np.array_equal(overlay(image, labels, default_palette(3)), expected)
