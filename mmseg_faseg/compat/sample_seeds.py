"""Random transforms that depend on the seed and on a sample's place in the order, on nothing else.

MMEngine seeds each worker once; what a transform draws then depends on all that its worker has
loaded before, on the number of workers, and is another after resuming. Here the batch sampler
numbers the samples, and Python's, NumPy's and PyTorch's generators are seeded before each.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader, Dataset


def seed_generators(*words: int) -> int:
    """Seeds Python's, NumPy's and PyTorch's generators of the CPU.

    Args:
        words: Non-negative integers.

    Returns:
        The seed, 32 bits, that they were given.
    """
    seed = int(np.random.SeedSequence(words).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every device
    return seed


def seed_samples(loader: DataLoader, seed: int) -> None:
    """Makes a loader's samples depend on ``seed`` and their place in the order.

    Loaders of iterable data sets, and those without batches, stay as they are.
    """
    batches = loader.batch_sampler
    if batches is None or isinstance(loader.dataset, torch.utils.data.IterableDataset):
        return
    # DataLoader guards its attribute against those who forget `sampler`, which this one keeps.
    object.__setattr__(loader, 'batch_sampler', NumberedBatches(batches, seed))
    # PyTorch asks a data set that has this method for a whole batch. A list cannot have it.
    if hasattr(loader.dataset, '__dict__'):
        loader.dataset.__getitems__ = _Seeded(loader.dataset)  # type: ignore[attr-defined]


class NumberedBatches:
    """A batch sampler whose indices know the seed and their place in the order.

    Attributes:
        seed: Of the run.
        skip: How many batches the next iteration leaves out, as they were trained on before.
    """

    def __init__(self, batches: Any, seed: int) -> None:
        self._batches = batches
        self.seed = seed
        self.skip = 0

    def __iter__(self) -> Iterator[list['NumberedIndex']]:
        rank, processes = dist.get_dist_info()
        sampler = getattr(self._batches, 'sampler', None)
        if isinstance(sampler, InfiniteSampler):
            sampler.indices = sampler._indices_of_rank()  # from the beginning
        epoch = getattr(sampler, 'epoch', 0)
        skip, self.skip = self.skip, 0
        seen = 0
        for number, batch in enumerate(self._batches):
            places = range(seen, seen + len(batch))
            seen += len(batch)
            if number >= skip:
                yield [
                    NumberedIndex(index, (self.seed, epoch, place * processes + rank))
                    for index, place in zip(batch, places, strict=True)
                ]

    def __len__(self) -> int:
        return len(self._batches)

    def __getattr__(self, name: str) -> Any:
        if name == '_batches':  # asked for by pickle, before there is one
            raise AttributeError(name)
        return getattr(self._batches, name)


class NumberedIndex(int):
    """The index of a sample, with what its random transforms are seeded from."""

    words: tuple[int, ...]

    def __new__(cls, index: int, words: tuple[int, ...]) -> 'NumberedIndex':
        """An ``index`` that carries ``words``, non-negative integers."""
        self = super().__new__(cls, index)
        self.words = words
        return self

    def __reduce__(self) -> tuple:
        return NumberedIndex, (int(self), self.words)


class _Seeded:
    """``__getitems__`` of a data set: seeds the generators for each sample."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __call__(self, indices: list[int]) -> list[Any]:
        samples = []
        for index in indices:
            if isinstance(index, NumberedIndex):
                seed_generators(*index.words)
            samples.append(self._dataset[int(index)])
        return samples
