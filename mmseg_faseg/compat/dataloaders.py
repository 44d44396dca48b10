"""Data loaders without workers, whatever their config says about workers."""

import functools
from collections.abc import Callable
from typing import Any

from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

# DataLoader refuses these without workers, or fails when it begins to load.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


def load_without_workers() -> None:
    """Makes ``num_workers=0`` enough to load in the main process. Calling it twice is harmless.

    Our configs and MMSegmentation's say ``persistent_workers=True``, which goes only with workers.
    """
    for runner in (Runner, FlexibleRunner):
        if not hasattr(runner.build_dataloader, '__wrapped__'):
            runner.build_dataloader = staticmethod(_without_workers(runner.build_dataloader))


def _without_workers(build_dataloader: Callable) -> Callable:
    @functools.wraps(build_dataloader)
    def wrapper(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        if isinstance(dataloader, dict) and not dataloader.get('num_workers'):
            # A copy of the same type: a config's own dicts read missing keys in their own way.
            dataloader = dataloader.copy()
            for name in _OF_WORKERS:
                dataloader.pop(name, None)
        return build_dataloader(dataloader, *args, **kwargs)

    return wrapper
