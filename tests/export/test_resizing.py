"""Sizes of resized pictures are those of the transforms that a test pipeline names."""

import itertools

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmseg_faseg.errors import UserError
from mmseg_faseg.export.resizing import resize_of

READ, PACK = dict(type='LoadImageFromFile'), dict(type='PackSegInputs')
SIZES = [*itertools.product((1, 7, 33, 97, 128, 333), (1, 8, 50, 64, 199, 400)), (64, 263)]


@pytest.mark.parametrize(
    'step',
    [
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='Resize', scale=(64, 96), keep_ratio=True),
        dict(type='Resize', scale=(96, 64)),
        dict(type='ResizeShortestEdge', scale=64, max_size=256),
        dict(type='ResizeShortestEdge', scale=100, max_size=410),
        dict(type='mmseg.ResizeShortestEdge', scale=(70, 90), max_size=100),
        dict(type='AntialiasedResizeShortestEdge', scale=64, max_size=256),
        dict(type='AntialiasedResizeShortestEdge', scale=37, max_size=90),
    ],
    ids=str,
)
def test_sizes_are_those_of_the_transform(step):
    transform, resize = TRANSFORMS.build(step), resize_of([READ, step, PACK])
    for height, width in SIZES:
        try:
            image = transform(dict(img=np.zeros((height, width, 3), np.uint8)))['img']
        except Exception:  # an edge would be 0 pixels long
            continue
        assert resize.size_of((height, width)) == image.shape[:2], (height, width)


def test_only_pillow_takes_means():
    steps = [
        dict(type=kind, scale=64, max_size=256)
        for kind in ('ResizeShortestEdge', 'AntialiasedResizeShortestEdge')
    ]
    assert [resize_of([step]).antialias for step in steps] == [False, True]


def test_pictures_may_stay_as_they_are():
    assert resize_of([READ, dict(type='LoadAnnotations'), PACK]) is None


RESIZE = dict(type='Resize', scale=(96, 64), keep_ratio=True)


@pytest.mark.parametrize(
    ('steps', 'said'),
    [
        ([dict(type='RandomFlip', prob=0.5)], 'the test pipeline has RandomFlip'),
        ([RESIZE, RESIZE], 'the test pipeline has Resize: .* resized once'),
        ([dict(RESIZE, interpolation='nearest')], 'in a way that a file cannot: .*nearest'),
        ([dict(type='Resize', scale_factor=0.5)], 'in a way that a file cannot: .*scale_factor'),
    ],
    ids=str,
)
def test_other_steps_are_refused(steps, said):
    with pytest.raises(UserError, match=said):
        resize_of([READ, *steps, PACK])
