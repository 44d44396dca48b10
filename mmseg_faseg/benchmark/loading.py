"""Data loading: images per second of a config's training data, by process and by workers."""

import copy
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from ..apis import UserError
from ..apis.checks import check_data

Results = dict[str, Any]


def check_plan(
    cfg: Config, workers: list[int], seconds: float, consumes: float | None = None
) -> None:
    """Checks all that can be known before anything is measured.

    Args:
        cfg: Config with a ``train_dataloader``.
        workers: Numbers of worker processes, 0 for none.
        seconds: Time of each measurement.
        consumes: Images per second that the model takes, if known.

    Raises:
        UserError: An argument is out of range, or there are no data to load.
    """
    if min(workers) < 0:
        raise UserError(f'--workers must be at least 0, got {min(workers)}')
    for option, value in (('--seconds', seconds), ('--consumes', consumes)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f'{option} must be a number above 0, got {value:g}')
    loader = cfg.get('train_dataloader')
    if not isinstance(loader, dict) or 'dataset' not in loader:
        raise UserError(f'config {cfg.filename} has no train_dataloader with a dataset')
    check_data(cfg, ['train_dataloader'])


def measure(
    cfg: Config, workers: list[int], seconds: float, report: Callable[[Results], None]
) -> None:
    """Measures one process, then the data loader with each number of workers.

    Every measurement starts after a warm-up of one pass through the data or ``seconds``, whichever
    ends first.

    Args:
        cfg: A checked config.
        workers: Numbers of worker processes.
        seconds: Time of each measurement.
        report: Gets the results so far, after every measurement.
    """
    set_multi_processing(**cfg.get('env_cfg', {}).get('mp_cfg', {}))  # as the Runner does
    torch.set_num_threads(1)  # as in a worker
    loader = cfg.train_dataloader
    results: Results = dict(
        images_per_batch=loader.get('batch_size'),
        configured_workers=loader.get('num_workers', 0),
        pin_memory=bool(loader.get('pin_memory')) and torch.accelerator.is_available(),
        persistent_workers=bool(loader.get('persistent_workers')),
        cores=len(os.sched_getaffinity(0)),
        rows=[],
    )
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        results['process'] = measure_process(build_loader(cfg, 0), seconds)
        report(results)
        for number in dict.fromkeys(workers):
            rate = measure_loader(build_loader(cfg, number), seconds)
            results['rows'].append(dict(workers=number, images_per_second=rate))
            report(results)


def build_loader(cfg: Config, workers: int) -> DataLoader:
    """The config's training data loader with another number of workers."""
    settings = copy.deepcopy(cfg.train_dataloader)
    settings.num_workers = workers
    if workers == 0:
        for key in ('persistent_workers', 'prefetch_factor', 'timeout'):  # of workers only
            settings.pop(key, None)
    loader = Runner.build_dataloader(settings, seed=0)
    if not len(loader):
        raise UserError(
            f'train_dataloader.batch_size is {settings.get("batch_size")}, but the data set has '
            f'{len(loader.dataset)} images: there is no batch to load'
        )
    return loader


def measure_process(loader: DataLoader, seconds: float) -> Results:
    """Loads images one by one in this process.

    Returns:
        ``images_per_second``, and ``shares`` of the time: pairs of a transform's name and its
        share, in the pipeline's order, and what is left for the data set itself.
    """
    dataset = loader.dataset
    timers = list(_time_transforms(dataset))
    images = (1 for index in _without_end(loader.sampler) if dataset[index] is not None)
    _take(images, seconds, len(dataset))
    for timer in timers:
        timer.seconds = 0.0
    count, took = _take(images, seconds)
    shares = [[timer.name, timer.seconds / took] for timer in timers]
    shares.append(['data set', 1 - sum(share for _, share in shares)])
    return dict(images_per_second=count / took, shares=shares)


def measure_loader(loader: DataLoader, seconds: float) -> float:
    """Images per second that come out of a data loader when they are taken at once."""
    images = (len(batch['inputs']) for batch in _without_end(loader))
    _take(images, seconds, len(loader.dataset))
    count, took = _take(images, seconds)
    return count / took


def bottleneck(results: Results, consumes: float) -> str:
    """Which side is the bottleneck, and how many workers would be enough.

    Args:
        results: What :func:`measure` found.
        consumes: Images per second that the model takes.
    """
    rows = [row for row in results['rows'] if row['workers'] > 0]
    enough = [row for row in rows if row['images_per_second'] >= consumes]
    if enough:
        fewest = min(enough, key=lambda row: row['workers'])
        return (
            f'The model is the bottleneck: it takes {consumes:.1f} images/s. Enough: '
            f'{_count(fewest["workers"])} ({fewest["images_per_second"]:.1f} images/s).'
        )
    # More workers than cores share these: what they load says nothing about a larger machine.
    alone = [row for row in rows if row['workers'] <= results['cores']]
    largest = max(alone, key=lambda row: row['workers'], default=None)
    if largest is None:
        per_worker = results['process']['images_per_second']
    else:
        per_worker = largest['images_per_second'] / largest['workers']
    return (
        f'Data loading is the bottleneck: the model takes {consumes:.1f} images/s. At '
        f'{per_worker:.1f} images/s each, {_count(math.ceil(consumes / per_worker))} would be '
        f'enough, given as many cores; here are {results["cores"]}.'
    )


class _Timer:
    """A transform whose time adds up in ``seconds``."""

    def __init__(self, transform: Callable) -> None:
        self.transform = transform
        self.name = type(transform).__name__
        self.seconds = 0.0

    def __call__(self, results: dict) -> dict | None:
        start = time.perf_counter()
        try:
            return self.transform(results)
        finally:
            self.seconds += time.perf_counter() - start


def _time_transforms(dataset: Any) -> Iterator[_Timer]:
    """Puts timers around the transforms of a data set, or of those inside a wrapper."""
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if transforms is not None:
        transforms[:] = [_Timer(transform) for transform in transforms]
        yield from transforms
    for inner in getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)]):
        if inner is not None:
            yield from _time_transforms(inner)


def _count(workers: int) -> str:
    return f'{workers} worker{"s" if workers > 1 else ""}'


def _without_end(items: Iterable) -> Iterator:
    return itertools.chain.from_iterable(itertools.repeat(items))


def _take(images: Iterator[int], seconds: float, most: float = math.inf) -> tuple[int, float]:
    """Takes images until the time is over or there were that many; their number and the time."""
    start = time.perf_counter()
    count, took = 0, 0.0
    while took < seconds and count < most:
        count += next(images)
        took = time.perf_counter() - start
    return count, took
