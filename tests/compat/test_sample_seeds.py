"""What a sample's transforms draw follows from the seed and the sample's place in the order."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine import dist
from mmengine.dataset import sampler as samplers
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmseg_faseg.compat import sample_seeds


class _Draws(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), float(torch.rand(()))


def _loader(sampler='InfiniteSampler', batch_size=2, workers=0, seed=0, **more):
    config = dict(
        dataset=_Draws(),
        sampler=dict(type=sampler, shuffle=True),
        batch_size=batch_size,
        num_workers=workers,
        **more,
    )
    return Runner.build_dataloader(config, seed=seed)


def _samples(loader, batches):
    return [
        sample
        for batch, _ in zip(loader, range(batches), strict=False)
        for sample in zip(*[part.tolist() if hasattr(part, 'tolist') else part for part in batch],
                          strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize('more', [dict(workers=2), dict(workers=1, persistent_workers=True)])
def test_whatever_the_number_of_workers(more):
    expected = _samples(_loader(), 6)
    assert len(set(expected)) == len(expected) == 12
    assert _samples(_loader(**more), 6) == expected


def test_whatever_else_was_drawn():
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    assert _samples(_loader(), 3) == _samples(_loader(), 3)
    assert _samples(_loader(seed=1), 3) != _samples(_loader(), 3)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_what_was_seen_is_skipped(sampler, workers):
    loader = _loader(sampler, workers=workers, persistent_workers=workers > 0)
    expected = _samples(loader, 3)
    if sampler == 'InfiniteSampler':
        _samples(loader, 1)  # begun and left, as by a loop that is resumed
    loader.batch_sampler.skip = 2
    assert _samples(loader, 1) == expected[4:]


def test_an_epoch_draws_anew():
    loader = _loader('DefaultSampler')
    first = _samples(loader, 3)
    loader.sampler.set_epoch(1)
    second = _samples(loader, 3)
    assert {index for index, *_ in first} == {index for index, *_ in second} == set(range(5))
    assert {tuple(draws) for _, *draws in first}.isdisjoint(tuple(draws) for _, *draws in second)


def test_two_processes_draw_what_one_does(monkeypatch):
    expected = _samples(_loader(batch_size=4), 3)
    of_ranks = []
    for rank in (0, 1):
        monkeypatch.setattr(dist, 'get_dist_info', lambda rank=rank: (rank, 2))
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 2))
        of_ranks.append(_samples(_loader(batch_size=2), 3))
    interleaved = [sample for pair in zip(*of_ranks, strict=True) for sample in pair]
    assert interleaved == expected


def test_indices_travel_between_processes():
    index = pickle.loads(pickle.dumps(sample_seeds.NumberedIndex(3, (1, 2, 3))))
    assert (index, index.words) == (3, (1, 2, 3))
