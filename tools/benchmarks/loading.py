"""Measures how many images per second a config's training data loader gives."""

import argparse
import copy
import itertools
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from mmseg_faseg.apis import UserError, add_options, load_config, one_line_errors
from mmseg_faseg.apis.checks import check_data

from .measure import describe_machine
from .results import Report, above_zero, at_least, check_folder, table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        help='config file, or PACKAGE::NAME.py for an installed one, with data to train on',
    )
    parser.add_argument(
        '--workers',
        nargs='+',
        type=int,
        default=[0, 1, 2, 4],
        help='numbers of worker processes (default: 0 1 2 4)',
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=10,
        help='of each measurement, after a warm-up of one epoch or as long (default: %(default)s)',
    )
    parser.add_argument(
        '--consumes',
        type=float,
        metavar='IMAGES_PER_SECOND',
        help='what training takes: says which side is the bottleneck',
    )
    parser.add_argument('--out', default='work_dirs/loading', help='folder (default: %(default)s)')
    add_options(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    at_least(0, workers=min(args.workers))
    above_zero(seconds=args.seconds, consumes=args.consumes)
    check_folder(args.out)
    cfg = load_config(args.config, args.cfg_options)
    loader = cfg.get('train_dataloader')
    if not isinstance(loader, dict) or 'dataset' not in loader:
        raise UserError(f'config {cfg.filename} has no train_dataloader with a dataset')
    check_data(cfg, ['train_dataloader'])
    # About more workers than cores, which the table shows.
    warnings.filterwarnings('ignore', 'This DataLoader will create')
    set_multi_processing(**cfg.get('env_cfg', {}).get('mp_cfg', {}))  # as the Runner does
    torch.set_num_threads(1)  # as in a worker
    report = Report(
        args.out,
        'loading',
        markdown,
        command=shlex.join(['python', *sys.argv]),
        machine=describe_machine('cpu'),
        cores=len(os.sched_getaffinity(0)),
        consumes=args.consumes,
        images_per_batch=loader.get('batch_size'),
        rows=[],
    )
    with report.kept_at_interruption():
        measure(cfg, args, report)


def measure(cfg: Config, args: argparse.Namespace, report: Report) -> None:
    """Measures one process, then the data loader with each number of workers.

    Every measurement starts after a warm-up of one pass through the data or ``args.seconds``,
    whichever ends first.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        rate, shares = measure_process(build_loader(cfg, 0), args.seconds)
        report.results.update(process=rate, shares=shares)
        report.write()
        print(f'one process: {rate:.1f} images/s', flush=True)
        for workers in dict.fromkeys(args.workers):
            rate = measure_loader(build_loader(cfg, workers), args.seconds)
            row = dict(workers=workers, images_per_second=rate)
            report.add('rows', row, f'{_workers(workers)}: {rate:.1f} images/s')


def build_loader(cfg: Config, workers: int) -> DataLoader:
    """The config's training data loader with another number of workers.

    Raises:
        UserError: A batch needs more images than there are.
    """
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


def measure_process(loader: DataLoader, seconds: float) -> tuple[float, dict[str, float]]:
    """Loads images one by one in this process.

    Returns:
        Images per second, and the share of the time that each transform takes, in the pipeline's
        order, with what is left for the data set itself.
    """
    dataset = loader.dataset
    timers = list(_time_transforms(dataset))
    images = (1 for index in _without_end(loader.sampler) if dataset[index] is not None)
    _take(images, seconds, len(dataset))
    for timer in timers:
        timer.seconds = 0.0
    count, took = _take(images, seconds)
    shares: dict[str, float] = {}
    for timer in timers:
        shares[timer.name] = shares.get(timer.name, 0) + timer.seconds / took
    return count / took, {**shares, 'data set': 1 - sum(shares.values())}


def measure_loader(loader: DataLoader, seconds: float) -> float:
    """Images per second that come out of a data loader when they are taken at once."""
    images = (len(batch['inputs']) for batch in _without_end(loader))
    _take(images, seconds, len(loader.dataset))
    count, took = _take(images, seconds)
    return count / took


def bottleneck(results: dict[str, Any]) -> str:
    """Which side is the bottleneck, and how many workers are enough."""
    consumes = results['consumes']
    # In the model's own process loading never keeps up: they take turns.
    enough = [
        row['workers']
        for row in results['rows']
        if row['workers'] and row['images_per_second'] >= consumes
    ]
    if enough:
        side = f'The model is the bottleneck: {_workers(min(enough))} are enough'
    else:
        side = 'Data loading is the bottleneck: no number of workers above is enough'
    return f'{side} for {consumes:.1f} images/s. Here are {results["cores"]} cores.'


def markdown(results: dict[str, Any]) -> str:
    """Everything to read."""
    rates = [['one process, without data loader', f'{results["process"]:.1f}']]
    rates += [
        [_workers(row['workers']), f'{row["images_per_second"]:.1f}'] for row in results['rows']
    ]
    machine = results['machine'] | {'images per batch': str(results['images_per_batch'])}
    sections = [
        f'```bash\n{results["command"]}\n```\n',
        table(['', ''], [list(item) for item in machine.items()]),
        table(['', 'images/s'], rates),
        table(
            ['transform', "share of one process's time"],
            [[name, f'{share:.0%}'] for name, share in results['shares'].items()],
        ),
    ]
    if results['consumes'] is not None:
        sections.append(f'{bottleneck(results)}\n')
    return '\n'.join(sections)


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


def _workers(number: int) -> str:
    if number == 0:
        return "data loader in the model's process"
    return f'{number} worker{"s" if number > 1 else ""}'


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
