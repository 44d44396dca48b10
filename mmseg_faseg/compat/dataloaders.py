"""Data loaders that need no workers, seed each sample, and leave signals to the main process."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

from .sample_seeds import seed_samples

# DataLoader refuses these without workers, or fails when it begins to load.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


def prepare_dataloaders() -> None:
    """Makes ``num_workers=0`` enough to load in the main process, and prepares workers.

    Our configs and MMSegmentation's say ``persistent_workers=True``, which goes only with workers.
    :mod:`.sample_seeds` has what seeding is for. Calling it twice is harmless.
    """
    for runner in (Runner, FlexibleRunner):
        if not hasattr(runner.build_dataloader, '__wrapped__'):
            runner.build_dataloader = staticmethod(_prepared(runner.build_dataloader))


def _prepared(build_dataloader: Callable) -> Callable:
    @functools.wraps(build_dataloader)
    def wrapper(
        dataloader: DataLoader | dict, seed: int | None = None, *args: Any, **kwargs: Any
    ) -> DataLoader:
        if isinstance(dataloader, dict) and not dataloader.get('num_workers'):
            # A copy of the same type: a config's own dicts read missing keys in their own way.
            dataloader = dataloader.copy()
            for name in _OF_WORKERS:
                dataloader.pop(name, None)
        loader = build_dataloader(dataloader, seed, *args, **kwargs)
        if loader is not dataloader:
            loader.worker_init_fn = functools.partial(_start_worker, loader.worker_init_fn)
            if seed is not None:
                seed_samples(loader, seed)
        return loader

    return wrapper


def _start_worker(init: Callable[[int], None] | None, number: int) -> None:
    """Ctrl-C and schedulers signal all processes of a run: what that means, the main one says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_for_main_process, daemon=True).start()
    if init is not None:
        init(number)


def _end_for_main_process() -> None:
    main = multiprocessing.parent_process()
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != (main and main.pid):
        pass
    os._exit(0)
