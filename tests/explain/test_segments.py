"""Panoptic segments as pictures."""

import numpy as np

from mmseg_faseg.explain import paint_segments

PALETTE = [[200, 0, 0], [0, 200, 0]]
WHITE = [255, 255, 255]


def paint(segments, scale):
    segments = np.array(segments)
    return paint_segments(np.full((*segments.shape, 3), 100, np.uint8), segments, PALETTE, scale)


def test_colours_are_the_classes_and_nobodys_pixels_black():
    painted = paint([[1, 1000, 2, 255]], scale=2)[0, ::2]
    assert painted.tolist() == [[35, 165, 35], [165, 35, 35], [35, 35, 35], [35, 35, 35]]


def test_instances_of_a_class_are_parted_by_a_line_of_one_pixel():
    painted = paint([[1000, 2000], [1000, 2000], [1, 1]], scale=3)
    assert painted.shape == (9, 6, 3)
    lines = (painted == WHITE).all(-1)
    assert lines[:6, 2].all() and not lines[:5, [0, 1, 3, 4, 5]].any()  # between the two
    assert lines[5].all() and not lines[6:].any()  # and below them
    assert not (paint([[1000, 1000]], scale=3) == WHITE).all(-1).any()
