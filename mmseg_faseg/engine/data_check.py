"""Finds what is wrong with data sets before training time is spent on them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Subset

from ..errors import UserError
from .checks.kinds import Kind, kind_of
from .checks.names import CHECKS
from .checks.reading import Reader, Seen
from .checks.report import Report, skipped_checks
from .checks.seen import SeenFiles
from .checks.settings import segmentor

_FEW = 64  # images that are read before other processes have started
_PER_TASK = 8  # images that a process reads at a time


class DataMismatchError(UserError):
    """A data set does not fit the model, or its files do not fit each other."""


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Reads all images with their labels before a run starts, and stops with one clear error.

    They are read by the data set's own pipeline, up to the last transform that loads or that does
    not come with OpenMMLab, so that chosen classes, ``reduce_zero_label``, loaders of one's own and
    ids mapped later are honoured. The model decides whether label maps or MMDetection's objects and
    panoptic segments are checked (``checks/kinds.py``). What is looked for, by name:
    ``docs/checks.md``, or ``mmseg_faseg/engine/checks``. ``skip_checks`` of the config, a list of
    names, leaves some out. Where the pipeline loads no labels, only whether images can be read is
    looked at.

    Sound files are remembered in the user's cache folder and read again when they change. In a
    distributed run each process checks its share, and all of them stop.

    Args:
        max_files: Check this many images of each data set, evenly spread; None for all.
        num_workers: Processes that read; None for one per core, up to 8.

    Raises:
        ValueError: An argument is out of range.
        DataMismatchError: When a run starts: names the files and what is wrong with them.
    """

    def __init__(self, max_files: int | None = None, num_workers: int | None = None) -> None:
        if max_files is not None and max_files < 1:
            raise ValueError(f'max_files must be None or at least 1, got {max_files}')
        if num_workers is not None and num_workers < 0:
            raise ValueError(f'num_workers must be None or at least 0, got {num_workers}')
        self.max_files = max_files
        self.num_workers = _cores() if num_workers is None else num_workers
        self._checked: set[int] = set()
        self._outer: dict[int, list] = {}  # transforms of the data sets around one

    def before_run(self, runner: Runner) -> None:
        """Checks the data of the loops that are built by now: train and val, or val, or test."""
        found = kind_of(segmentor(runner))
        if found is None:
            return
        kind, expected = found
        skipped = skipped_checks(runner.cfg.get('skip_checks'), CHECKS)
        # `train_loop` and its like would build what this run does not use.
        loops = (runner._train_loop, runner._val_loop, runner._test_loop)
        groups = [self._unchecked(loop) for loop in loops]
        _check_classes(groups, kind, expected, skipped)
        for group in groups:
            self._check_files(group, kind, expected, skipped, training=group is groups[0])
            self._checked.update(id(dataset) for dataset in group)

    def _unchecked(self, loop: Any) -> list[BaseDataset]:
        found = list(_with_outer(loop.dataloader.dataset)) if hasattr(loop, 'dataloader') else []
        self._outer.update((id(dataset), outer) for dataset, outer in found)
        return [dataset for dataset, _ in found if id(dataset) not in self._checked]

    def _check_files(
        self,
        group: list[BaseDataset],
        kind: Kind,
        expected: Any,
        skipped: set[str],
        training: bool,
    ) -> None:
        """Reads the data sets of a loop; together they have to show every class."""
        counts: Counter[int] = Counter()
        files, whole = 0, True
        for dataset in group:
            indices = self._chosen(dataset)
            reader = kind.reader(dataset, indices, expected, skipped, self._outer[id(dataset)])
            if not reader.steps or not indices:
                continue
            seen = self._read(reader)
            where = f'{type(dataset).__name__} (checked {len(indices)} of {len(dataset)} images)'
            _report(seen, where, skipped)
            _warn_together(seen, kind, expected, skipped)
            if not any(one.labelled for one in seen):
                continue
            for one in seen:
                counts.update(one.counts)
            files += len(indices)
            whole &= len(indices) == len(dataset) and all(one.whole for one in seen)
        text = kind.absent_classes(group, counts, expected, files)
        report = Report(skipped)
        if text:
            refused = training and whole
            (report.refuse if refused else report.warn)('absent_classes', text)
        elif files:
            print_log(kind.shown_classes(counts, expected, files), 'current')
        report.settle(DataMismatchError)

    def _chosen(self, dataset: BaseDataset) -> list[int]:
        count = len(dataset) if self.max_files is None else min(self.max_files, len(dataset))
        return np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()

    def _read(self, reader: Reader) -> list[Seen]:
        """Reads all images, those of other processes by them, and none that was seen before."""
        name = type(reader.dataset).__name__
        count = f'{len(reader)} of {len(reader.dataset)}'
        print_log(f'Checking {count} images and {reader.annotations} of {name} ...', 'current')
        remembered = SeenFiles(reader)
        share = range(dist.get_rank(), len(reader), dist.get_world_size())
        known = {place: remembered.get(reader.info(place)) for place in share}
        unseen = [place for place, one in known.items() if one is None]
        seen = {place: one for place, one in known.items() if one is not None}
        seen.update(zip(unseen, self._read_anew(reader, unseen), strict=True))
        for part in dist.all_gather_object(seen):
            seen.update(part)
        if dist.is_main_process():
            for place, one in seen.items():
                remembered.add(reader.info(place), one)
            remembered.save()
        return [seen[place] for place in sorted(seen)]

    def _read_anew(self, reader: Reader, places: list[int]) -> Iterator[Seen]:
        loader = DataLoader(
            Subset(reader, places),
            batch_size=_PER_TASK,
            num_workers=self.num_workers if len(places) > _FEW else 0,
            collate_fn=list,
            generator=torch.Generator(),  # the global one belongs to training
        )
        console = Console(stderr=True)
        quiet = not console.is_terminal or not dist.is_main_process()
        for part in track(loader, 'Checking', console=console, transient=True, disable=quiet):
            yield from part


def _check_classes(
    groups: list[list[BaseDataset]], kind: Kind, expected: Any, skipped: set[str]
) -> None:
    """What needs no image to be read."""
    report = Report(skipped)
    for dataset in dict.fromkeys(dataset for group in groups for dataset in group):
        about = kind.about(dataset)
        for check in kind.refused:
            for text in check(about, expected):
                report.refuse(check.__name__, text)
        for check in kind.warned:
            for text in check(about, expected):
                report.warn(check.__name__, text)
    report.settle(DataMismatchError)
    train, *others = groups
    for other in (dataset for group in others for dataset in group):
        for check in kind.warned_between:
            for text in (text for one in train for text in check(one, other)):
                report.warn(check.__name__, text)


def _warn_together(seen: list[Seen], kind: Kind, expected: Any, skipped: set[str]) -> None:
    report = Report(skipped)
    for check in kind.warned_together:
        for text in check(seen, expected):
            report.warn(check.__name__, text)


def _report(seen: Iterable[Seen], where: str, skipped: set[str]) -> None:
    report = Report(skipped)
    said: dict[str, list[str]] = {}
    for one in seen:
        if one.problem is not None:
            report.refuse(*one.problem)
        for name, text in one.warnings:
            said.setdefault(name, []).append(text)
    for name, texts in said.items():
        more = f' (and {len(texts) - 1} more)' if len(texts) > 1 else ''
        report.warn(name, texts[0] + more)
    report.settle(DataMismatchError, f'files of {where} do not fit')


def _cores() -> int:
    """Cores of each process of a run on this machine, at most 8."""
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    return min(8, max(1, (os.cpu_count() or 1) // processes))


def _leaves(dataset) -> Iterator[BaseDataset]:
    """The data sets below MMEngine's and MMSeg's wrappers."""
    for leaf, _ in _with_outer(dataset):
        yield leaf


def _with_outer(dataset: Any, outer: Sequence[Any] = ()) -> Iterator[tuple[BaseDataset, list]]:
    """As :func:`_leaves`, each with what the wrappers around it do to all images that they take.

    ``MultiImageMixDataset`` mixes others into an image, such as by ``RandomMosaic``; only what
    comes after that is done to them.
    """
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _with_outer(part, outer)
    elif hasattr(dataset, 'dataset'):
        own = list(getattr(dataset, 'pipeline', ()))
        mixing = [place for place, step in enumerate(own, 1) if hasattr(step, 'get_indices')]
        yield from _with_outer(dataset.dataset, [*own[max(mixing, default=0) :], *outer])
    elif isinstance(dataset, BaseDataset):
        yield dataset, list(outer)
