"""Files that break after the check of data: named, or replaced by another image and listed."""

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import get_worker_info

from ..datasets.broken_files import damage, first_line
from ..errors import UserError
from .data_check import _leaves

_POLICIES = ('raise', 'skip-and-list')
_LIST = 'broken_images.txt'


class BrokenImageError(UserError):
    """A file that a data set names cannot be read.

    PyTorch raises a worker's error anew in the main process, with the worker's trace as its text:
    only what comes after the name of this class is kept.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.rpartition(f'{type(self).__name__}: ')[2].strip())


@HOOKS.register_module()
class BrokenImagesHook(Hook):
    """Names a file that cannot be read while a run trains, validates or tests.

    Args:
        on_broken: ``'raise'``, or ``'skip-and-list'``: in training another image takes its place,
            drawn at random, and it is listed with the reason in ``broken_images.txt`` in
            ``work_dir``.

    Raises:
        ValueError: ``on_broken`` is neither.
        BrokenImageError: From the data loader, in one line, whether workers read or not.
    """

    def __init__(self, on_broken: str = 'raise') -> None:
        if on_broken not in _POLICIES:
            raise ValueError(f'on_broken must be one of {_POLICIES}, got {on_broken!r}')
        self.on_broken = on_broken
        self.guards: list[_Guard] = []

    def guard(self, runner: Runner, loop: BaseLoop) -> None:
        """Guards the data sets of a loop. Its workers take along what is there when they start."""
        trains = isinstance(loop, IterBasedTrainLoop | EpochBasedTrainLoop)
        skips = trains and self.on_broken == 'skip-and-list'
        for dataset in _leaves(loop.dataloader.dataset):
            listed = Path(runner.work_dir, _LIST) if skips else None
            guard = _Guard(dataset, listed, loop.dataloader.num_workers)
            dataset.prepare_data = guard
            self.guards.append(guard)

    def after_train(self, runner: Runner) -> None:
        """Says how many images were replaced."""
        file = Path(runner.work_dir, _LIST)
        if self.on_broken == 'skip-and-list' and file.exists():
            count = len(set(file.read_text().splitlines()))  # two workers may list the same
            runner.logger.warning(f'{count} broken images were replaced by others: {file}')


class _Guard:
    """Stands in for a data set's ``prepare_data``, in the main process and in workers.

    Args:
        dataset: What it guards.
        listed: Where broken images are listed, to be replaced by others; None to raise.
        num_workers: Of the data loader; each notes what it is at.
    """

    def __init__(self, dataset: BaseDataset, listed: Path | None, num_workers: int) -> None:
        self.dataset = dataset
        self.listed = listed
        # Process and index + 1 of each worker, or 0 between two images; all processes see it.
        self.at = torch.zeros(max(num_workers, 1), 2, dtype=torch.int64).share_memory_()

    def __call__(self, index: int) -> Any:
        worker = get_worker_info()
        note = self.at[0 if worker is None else worker.id]
        note[0], note[1] = os.getpid(), index + 1
        try:
            return type(self.dataset).prepare_data(self.dataset, index)
        except Exception as error:  # whatever a decoder or transform raises
            info = self.dataset.get_data_info(index)
            broken = damage(info)
            if self.listed is not None:
                what = broken or f'{info.get("img_path")}: pipeline fails ({first_line(error)})'
                _add_line(self.listed, what)
                return None  # MMEngine then takes another one
            if broken:
                raise BrokenImageError(broken) from error
            error.add_note(f'(while {info.get("img_path")} was read, whose files are sound)')
            raise
        finally:
            note[1] = 0

    def file_of(self, process: int) -> str | None:
        """The image that a process is at, if it is at one of this data set."""
        for pid, place in self.at.tolist():
            if pid == process and place:
                return self.dataset.get_data_info(place - 1).get('img_path')
        return None


def _add_line(file: Path, what: str) -> None:
    line = f'{what}\n'
    if not file.exists() or line not in file.read_text():
        with file.open('a') as opened:  # short lines arrive whole from several processes
            opened.write(line)


@contextmanager
def explained_dead_workers(runner: Runner) -> Iterator[None]:
    """Says at which files a data loader's worker was that the system killed.

    Raises:
        UserError: One line in place of PyTorch's ``RuntimeError``.
    """
    try:
        yield
    except Exception as error:
        found = _dead_worker(error)
        if found is None:
            raise
        guards = [g for hook in runner.hooks for g in getattr(hook, 'guards', ())]
        files = [g.file_of(int(pid)) for pid in found[1].split(',') for g in guards]
        at = ', '.join(file for file in files if file) or 'no file of a data set'
        raise UserError(
            f'a data loader worker (pid {found[1]}) {found[2].strip().rstrip(".")} while it was at '
            f'{at}; where memory ran out (see dmesg), take fewer workers '
            '(--cfg-options train_dataloader.num_workers=1) or smaller images'
        ) from None


def _dead_worker(error: BaseException | None) -> re.Match | None:
    """PyTorch's report of it, which interrupts whatever runs, and may be wrapped by that."""
    while error is not None:
        found = re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)', str(error))
        if found is not None and isinstance(error, RuntimeError):
            return found
        error = error.__cause__ or error.__context__
    return None


def guard_new_loops() -> None:
    """Has :class:`BrokenImagesHook` see a loop's data before workers start; twice is harmless.

    MMEngine's hooks are called too late: a loop for training starts its workers when it is built.
    """
    if not hasattr(BaseLoop.__init__, '__wrapped__'):
        BaseLoop.__init__ = _guarding(BaseLoop.__init__)


def _guarding(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapper(self: BaseLoop, runner: Runner, *args: Any, **kwargs: Any) -> None:
        init(self, runner, *args, **kwargs)
        for hook in getattr(runner, 'hooks', ()):
            if isinstance(hook, BrokenImagesHook):
                hook.guard(runner, self)

    return wrapper


guard_new_loops()
