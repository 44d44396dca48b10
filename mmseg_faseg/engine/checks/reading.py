"""Reads a data set's images with their annotations as training does, and checks each of them."""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmcv.transforms import TestTimeAug
from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import LoadAnnotations
from torch.utils.data import Dataset

from ...datasets.broken_files import damage, first_line, truncation_refused
from .pairs import REFUSED, WARNED, Pair

# Transforms of these packages change neither ids nor the number of channels, but for loaders
_STOCK = ('mmcv', 'mmengine', 'mmseg', 'mmdet', 'mmpretrain', 'mmseg_faseg')
_OTHER_CHANNELS = ('ConcatCDInput', 'RGB2Gray', 'RandomGrayscale')  # and these

Check = Callable[[Any, Any], str | None]


@dataclass
class Seen:
    """What was seen of an image and its annotations.

    Attributes:
        image: The file.
        problem: The check that refuses it and why.
        warnings: Checks and what they say.
        counts: Pixels, or segments, of each label id.
        labelled: Whether the pipeline loaded labels.
        whole: Whether the counted labels have the size that was loaded: nothing cut them.
    """

    image: str = ''
    problem: tuple[str, str] | None = None
    warnings: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    labelled: bool = True
    whole: bool = True


class UnreadableError(Exception):
    """A file cannot be read, or a transform fails on it."""


class Reader(Dataset):
    """Reads and checks images with their annotations by their place among ``indices``.

    Of the data set's own pipeline, and those of data sets around it, everything runs up to the last
    transform that may load an image or change label ids: loaders, and those that do not come with
    OpenMMLab.

    Args:
        dataset: What is read.
        indices: Of the data set's entries.
        expected: What the model takes.
        skipped: Names of checks left out.
        outer: Transforms of data sets around it, such as ``MultiImageMixDataset``.
    """

    annotations: str  # what is read beside images

    def __init__(
        self,
        dataset: BaseDataset,
        indices: Sequence[int],
        expected: Any,
        skipped: Collection[str] = (),
        outer: Sequence[Callable] = (),
    ) -> None:
        self.dataset = dataset
        self.indices = indices
        self.expected = expected
        self.skipped = skipped
        self.steps = loading_steps([*dataset.pipeline.transforms, *outer])

    def __len__(self) -> int:
        return len(self.indices)

    def info(self, place: int) -> dict:
        """The data set's entry."""
        return self.dataset.get_data_info(self.indices[place])

    def settings(self) -> tuple:
        """What else decides what is seen, beside model, pipeline and the files of an entry."""
        raise NotImplementedError

    def look(self, info: dict) -> Seen:
        """Reads and checks an entry."""
        raise NotImplementedError

    def __getitem__(self, place: int) -> Seen:
        info = self.info(place)
        with _random_state_kept(), truncation_refused():
            try:
                seen = self.look(info)
            except UnreadableError as error:
                seen = Seen(problem=('readable', str(error)))
        seen.image = str(info.get('img_path'))
        return seen

    def run(self, info: dict) -> Iterator[tuple[Callable, Any]]:
        """Runs the pipeline: each transform with its results, None where it drops the entry.

        Raises:
            UnreadableError: A transform fails; it names the file.
        """
        results: Any = dict(info)
        for step in self.steps:
            try:
                after = step(results)
            except Exception as error:  # whatever a decoder raises, the file is what matters
                raise UnreadableError(_explain(info, results, step, error)) from error
            results = after
            yield step, results
            if results is None:
                return

    def judge(self, loaded: Any, refused: Sequence[Check], warned: Sequence[Check]) -> Seen:
        """The first check that refuses what was loaded, or else all that warn."""
        for check in refused:
            text = None if check.__name__ in self.skipped else check(loaded, self.expected)
            if text:
                return Seen(problem=(check.__name__, text))
        said = [(check.__name__, check(loaded, self.expected)) for check in warned]
        return Seen(warnings=[(name, text) for name, text in said if text])


class PairReader(Reader):
    """Reads and checks images and label maps."""

    annotations = 'label maps'

    def settings(self) -> tuple:
        """How ids are mapped."""
        metainfo = self.dataset.metainfo
        return metainfo.get('label_map'), metainfo.get('reduce_zero_label')

    def look(self, info: dict) -> Seen:
        """Reads and checks a pair."""
        pair = self._load(info)
        if pair is None:
            return Seen(labelled=False)
        seen = self.judge(pair, REFUSED, WARNED)
        if seen.problem is None:
            seen.counts = _count(pair)
            seen.whole = pair.labels.shape == pair.sizes[1]
        return seen

    def _load(self, info: dict) -> Pair | None:
        """Runs the pipeline; None where it loads no labels or drops the entry."""
        loader = None
        # As loaded: in testing images are resized before labels are loaded.
        first: dict[str, np.ndarray] = {}
        last: dict[str, np.ndarray] = {}  # before the pipeline makes tensors of them
        for step, results in self.run(info):
            if results is None:
                return None
            for key, ndim in (('img', 3), ('gt_seg_map', 2)):
                array = results.get(key)
                if not isinstance(array, np.ndarray):
                    continue
                last[key] = array
                # Of volumes the slices that are cut from them.
                if key not in first or first[key].ndim > ndim >= array.ndim:
                    first[key] = array
                    loader = step if type(step) is LoadAnnotations else loader
        if len(first) < 2:
            return None
        sizes = first['img'].shape[:2], first['gt_seg_map'].shape[:2]
        return Pair(info, last['img'], last['gt_seg_map'], sizes, loader)


def loading_steps(transforms: Sequence[Callable]) -> list[Callable]:
    """The beginning of a pipeline, up to the last transform that may load or change ids.

    Of test-time augmentation the first view is taken.
    """
    steps = []
    for step in _flat(transforms):
        if type(step).__name__.startswith('Pack'):
            break
        steps.append(step)
    while steps and not _may_load(steps[-1]):
        steps.pop()
    return steps


def is_stock(steps: Sequence[Callable]) -> bool:
    """Whether all transforms come with OpenMMLab, so that their code is known."""
    return all(_package(step) in _STOCK for step in steps)


def _flat(transforms: Sequence[Any]) -> Iterator[Callable]:
    for transform in transforms:
        if isinstance(transform, TestTimeAug):
            yield from _flat(transform.subroutines[0].transforms)
        elif type(transform).__name__ == 'Compose':  # MMCV's or MMEngine's
            yield from _flat(transform.transforms)
        else:
            yield transform


def _may_load(step: Callable) -> bool:
    if _package(step) not in _STOCK:
        return True
    if type(step).__module__.endswith('.loading') and type(step).__name__ != 'FilterAnnotations':
        return True
    inner: Any = getattr(step, 'transforms', ())  # RandomChoice, RandomApply and their like
    inner = inner if isinstance(inner, Sequence) else [inner]
    return type(step).__name__ in _OTHER_CHANNELS or any(_may_load(one) for one in _flat(inner))


def _package(step: Callable) -> str:
    return type(step).__module__.partition('.')[0]


def _explain(info: dict, results: dict, step: Callable, error: Exception) -> str:
    """Which file a pipeline failed at."""
    found = damage(info)
    if found:
        return found
    image = info.get('img_path')
    reason = first_line(error)
    file = image if 'img' not in results else info.get('seg_map_path')
    if file and ('img' not in results or 'gt_seg_map' not in results):
        return f'{file}: cannot be read ({reason})'
    name = getattr(step, '__name__', type(step).__name__)
    return f'{image}: {name} of the pipeline fails ({reason})'


def _count(pair: Pair) -> dict[int, int]:
    if pair.labels.dtype == np.uint8:  # much faster than sorting
        counts = np.bincount(pair.labels.ravel(), minlength=256)
        return {int(i): int(counts[i]) for i in counts.nonzero()[0]}
    ids, counts = np.unique(pair.labels.astype(np.int64), return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Training draws the same random numbers, whatever is read before it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
