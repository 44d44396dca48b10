"""Tiles that overlap add up to the scores of the image, without seams and in bounded memory."""

import itertools

import pytest
import torch

from mmseg_faseg.models.merging.rows import MaskRows, Window
from mmseg_faseg.models.merging.scores import MeanScores, StoredScores
from mmseg_faseg.models.merging.semantic import MaskScores
from mmseg_faseg.models.merging.tiles import BlendedTiles, ramps, starts
from tests.helpers.live_tensors import LiveTensors


def blended(shape, tile, overlap, predict):
    chunks = list(BlendedTiles(shape, tile, overlap, predict).chunks())
    assert chunks[0][0].start == 0 and chunks[-1][0].stop == shape[0]
    assert all(above.stop == below.start for (above, _), (below, _) in itertools.pairwise(chunks))
    return torch.cat([scores for _, scores in chunks]).permute(2, 0, 1)


@pytest.mark.parametrize('overlap', [0, 0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize('shape', [(100, 130), (32, 500), (500, 7), (33, 33), (20, 20), (1, 1)])
def test_parts_of_scores_become_the_scores(shape, overlap):
    scores = torch.rand(3, *shape)

    def predict(boxes):
        return [StoredScores(scores[:, y : y + h, x : x + w]) for y, x, h, w in boxes]

    found = blended(shape, (32, 48), overlap, predict)
    torch.testing.assert_close(found, scores, rtol=0, atol=1e-6)


def test_there_are_no_seams():
    """Tiles that say something else: from one to the next there is no step."""
    values = iter([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0])

    def predict(boxes):
        return [StoredScores(torch.full((1, h, w), next(values))) for _, _, h, w in boxes]

    (found,) = blended((64, 64 + 48 * 6), (64, 64), 0.25, predict)
    steps = (found[:, 1:] - found[:, :-1]).abs()
    assert found.min() < 0.1 and found.max() > 0.9
    assert steps.max() < 1.01 / 16  # of an overlap of 16 pixels
    assert (found[0] == found).all()


@pytest.mark.parametrize('overlap', [0, 1, 7, 16, 31])
@pytest.mark.parametrize('length', [32, 33, 47, 64, 1000])
def test_tiles_cover_a_length_evenly(length, overlap):
    tops = starts(length, 32, overlap)
    assert tops[0] == 0 and tops[-1] == length - 32
    steps = [below - above for above, below in itertools.pairwise(tops)]
    assert all(0 < step <= 32 - overlap for step in steps)
    assert not steps or max(steps) - min(steps) <= 1


def test_ramps_of_neighbours_add_up_to_one():
    weights = ramps(32, 8)
    torch.testing.assert_close(weights[-8:] + weights[:8], torch.ones(8))
    assert (weights[8:-8] == 1).all() and (weights > 0).all()
    assert (ramps(32, 0) == 1).all()


def test_memory_depends_on_the_width_alone():
    """Of 150 classes all scores would be 1.2 GB, the masks of all tiles 0.2 GB."""
    height, width, queries, classes = 2000, 1000, 100, 150
    predicted = []

    def predict(boxes):
        predicted.append(boxes[0][0])
        found = []
        for _, _, h, w in boxes:
            window = Window.of((0, 0, h, w), torch.randn(queries, h // 4, w // 4))
            masks = MaskRows([window], (h, w), (0, 0, 0, 0), None, (h, w))
            found.append(MeanScores(MaskScores(masks, [torch.rand(queries, classes)])))
        return found

    tiles = BlendedTiles((height, width), (128, 128), 0.25, predict)
    with LiveTensors() as tensors:
        for rows, scores in tiles.chunks():
            assert scores.shape == (rows.stop - rows.start, width, classes)
            if rows.start > 300:
                break
    assert 3 <= len(predicted) <= 5  # those further down have not been looked at
    masks = 2 * 128 * 1340 // 16 * queries * 4
    chunk = 16 * width * classes * 4
    assert tensors.peak < 2 * masks + 4 * chunk
