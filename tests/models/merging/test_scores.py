"""Scores of several views are averaged, a few rows at a time."""

import pytest
import torch

from mmseg_faseg.models.merging.rows import MaskRows, Window
from mmseg_faseg.models.merging.scores import MeanScores, StoredScores
from mmseg_faseg.models.merging.semantic import MaskScores

SHAPE = (40, 50)


def stored(seed):
    values = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return StoredScores(values), values.clone()


def of_masks(seed):
    generator = torch.Generator().manual_seed(seed)
    window = Window.of((0, 0, 32, 64), torch.randn(5, 8, 16, generator=generator))
    masks = MaskRows([window], (32, 64), (0, 0, 0, 0), None, SHAPE)
    scores = MaskScores(masks, [torch.rand(5, 3, generator=generator)])
    return scores, scores.rows(0, 40).permute(2, 0, 1).clone()


@pytest.mark.parametrize('kind', [stored, of_masks])
@pytest.mark.parametrize('count', [1, 2, 5])
def test_the_mean_of_views(kind, count):
    views, values = zip(*(kind(seed) for seed in range(count)), strict=True)
    mean = MeanScores(views[0])
    for view in views[1:]:
        mean.add(view)
    assert (mean.shape, mean.num_classes) == (SHAPE, 3)
    for _ in range(2):  # reading changes nothing
        found = torch.cat([scores for _, scores in mean.chunks()]).permute(2, 0, 1)
        torch.testing.assert_close(found, torch.stack(values).mean(0))
    torch.testing.assert_close(mean.rows(7, 9).permute(2, 0, 1), found[:, 7:9])


def test_of_stored_scores_one_sum_is_kept():
    mean = MeanScores(stored(0)[0])
    for seed in range(1, 4):
        mean.add(stored(seed)[0])
    assert (len(mean.views), mean.count) == (1, 4)
