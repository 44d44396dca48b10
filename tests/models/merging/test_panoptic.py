"""Mask-wise merging does what the paper's algorithm does, one mask after the other."""

import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET

from mmseg_faseg.models.merging import rows as merging_rows
from mmseg_faseg.models.merging.panoptic import Candidates, by_mask, merging
from mmseg_faseg.models.merging.rows import MaskRows, Window

THINGS, CLASSES = 3, 5


def rows_of(mask_logits, ori_shape=None):
    size = tuple(mask_logits.shape[1:])
    window = Window.of((0, 0, *size), mask_logits)
    return MaskRows([window], size, (0, 0, 0, 0), None, ori_shape or size)


def literal(masks, scores, labels, quality_thr, overlap_thr, exponents=(1, 2)):
    """Panoptic SegFormer, algorithm 1, in the plainest of words."""
    qualities = []
    for mask, score in zip(masks, scores, strict=True):
        inside = mask > 0.5
        mean = (mask[inside].sum() / (inside.sum() + 1)).item()
        qualities.append(score.item() ** exponents[0] * mean ** exponents[1])
    segments = torch.full(masks.shape[1:], CLASSES)
    taken = torch.zeros(masks.shape[1:], dtype=torch.bool)
    number = 0
    for i in sorted(range(len(masks)), key=lambda i: -qualities[i]):
        label, inside = int(labels[i]), masks[i] > 0.5
        area = int(inside.sum())
        if label >= CLASSES or area == 0 or qualities[i] < quality_thr[label]:
            continue
        if int((inside & taken).sum()) / area > overlap_thr[label]:
            continue
        if label < THINGS:
            number += 1
        segments[inside & ~taken] = label + (number * INSTANCE_OFFSET if label < THINGS else 0)
        taken |= inside
    return segments[None].int()


def random_case(seed):
    """Blocky masks that overlap, some empty, some twice: ties in score and in share."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 9, (1,), generator=generator))
    coarse = torch.rand(count, 3, 4, generator=generator, dtype=torch.float64)
    masks = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    masks[torch.rand(count, generator=generator) < 0.1] = 0
    scores = torch.randint(1, 5, (count,), generator=generator).double() / 4
    labels = torch.randint(0, CLASSES + 1, (count,), generator=generator)
    if seed % 3 == 0 and count > 1:
        masks[-1], scores[-1] = masks[0], scores[0]
    return masks, scores, labels


@pytest.mark.parametrize('per_class', [False, True], ids=['one number', 'per class'])
def test_a_thousand_cases(monkeypatch, per_class):
    monkeypatch.setattr(merging_rows, 'chunk_bytes', lambda _: 4000)
    thresholds = dict(quality_thr=[0.25] * CLASSES, overlap_thr=[0.5] * CLASSES)
    if per_class:
        thresholds = dict(quality_thr=[0.1, 0.2, 0.3, 0.0, 0.5], overlap_thr=[0, 0.3, 0.5, 0.7, 1])
    seen = set()
    for seed in range(1000):
        masks, scores, labels = random_case(seed)
        candidates = Candidates(labels, scores, THINGS, CLASSES, activation=lambda x: x)
        got = by_mask(rows_of(masks), candidates, **thresholds)
        expected = literal(masks, scores, labels, **thresholds)
        torch.testing.assert_close(got, expected, rtol=0, atol=0, msg=f'case {seed}')
        seen.add(len(expected.unique()))
    assert seen >= {1, 2, 3, 4}


def test_a_share_of_just_the_threshold_is_kept():
    """Of single precision too, in which 1 - 0.7 is less than 0.3."""
    for area in range(2, 31):
        for taken in range(1, area):
            masks = torch.zeros(2, 1, 60)
            masks[0, 0, :taken] = masks[1, 0, :area] = 1
            candidates = Candidates(
                torch.tensor([3, 4]), torch.tensor([1.0, 0.9]), THINGS, CLASSES, lambda x: x
            )
            settings = dict(quality_thr=[0.0] * CLASSES, exponents=(1, 0))
            for threshold, kept in ((taken / area, True), (taken / area - 1e-9, False)):
                found = by_mask(rows_of(masks), candidates, overlap_thr=[threshold] * 5, **settings)
                assert (4 in found) == kept, (area, taken)


def test_masks_are_resized_before_they_are_compared():
    torch.manual_seed(4)
    masks = 4 * torch.randn(6, 8, 12, dtype=torch.float64)
    labels, scores = torch.tensor([0, 1, 2, 3, 4, 0]), torch.full((6,), 0.9).double()
    resized = torch.nn.functional.interpolate(masks[None], (21, 30), mode='bilinear')[0].sigmoid()
    settings = dict(quality_thr=[0.25] * CLASSES, overlap_thr=[0.6] * CLASSES)
    got = by_mask(rows_of(masks, (21, 30)), Candidates(labels, scores, THINGS, CLASSES), **settings)
    expected = literal(resized, scores, labels, **settings)
    assert len(expected.unique()) > 2
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_thresholds_are_those_of_the_paper_unless_told_otherwise():
    found = merging(dict(merging='mask-wise'), THINGS, CLASSES - THINGS)
    assert found.keywords == dict(
        quality_thr=[0.25] * CLASSES, overlap_thr=[0.4, 0.4, 0.4, 0.2, 0.2]
    )
