"""Runs for the soak, each in a process of its own: short attempts, and a long one to be watched."""

import multiprocessing
import os
import signal
import statistics
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_faseg.apis import load_config, test, train
from mmseg_faseg.checkpoints.latest import newest_whole_checkpoint
from mmseg_faseg.checkpoints.read import read_checkpoint

ITERATIONS = 40
OPTIONS = {
    'train_dataloader.batch_size': 1,
    'train_dataloader.dataset.num_images': 20,
    'val_dataloader.dataset.num_images': 10,
    'test_dataloader.dataset.num_images': 10,
    'train_cfg.max_iters': ITERATIONS,
    'train_cfg.val_interval': 10,
    'param_scheduler': [dict(type='PolyLR', end=ITERATIONS, by_epoch=False)],
    'randomness.seed': 0,
    'default_hooks.checkpoint.interval': 5,
    'default_hooks.checkpoint.max_keep_ckpts': 2,
    'default_hooks.checkpoint.save_best': 'mIoU',
}
_ENDLESS = {'train_cfg.max_iters': 10**6, 'param_scheduler': []}
fork = multiprocessing.get_context('fork')


class BrokenPromiseError(Exception):
    """Something that must hold does not."""


def _config(run: Path, options: dict | None = None) -> Config:
    cfg = load_config('mmseg_faseg::faseg_toy.py', OPTIONS | (options or {}))
    cfg.work_dir = str(run)
    return cfg


def attempt(run: Path, options: dict | None = None) -> None:
    train(_config(run, options), resume=True)


def evaluate(run: Path, path: Path) -> None:
    cfg = _config(run)
    cfg.work_dir = str(run.with_name('test'))
    test(cfg, str(path))


def start_process(target, run: Path, *arguments) -> multiprocessing.Process:
    process = fork.Process(target=_logged, args=(target, run, *arguments))
    process.start()
    return process


def _logged(target, run: Path, *arguments) -> None:
    os.setsid()  # so that its workers end with it
    with _log_of(run).open('a') as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    target(run, *arguments)


def end_process(process: multiprocessing.Process, number: int) -> None:
    if process.is_alive():
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # ended, or not yet a group of its own
            os.kill(process.pid, number)
    process.join(60)
    if process.is_alive():
        raise BrokenPromiseError(f'still alive 60 s after {signal.Signals(number).name}')


def log_of(run: Path) -> str:
    return _log_of(run).read_text()[-2000:]


def _log_of(run: Path) -> Path:
    return run.with_name(f'{run.name}.txt')


def state_of(run: Path) -> dict:
    """Where training would go on, and its best score."""
    path, _ = newest_whole_checkpoint(run) if run.exists() else (None, [])
    if path is None:
        return dict(iter=0, best=0.0)
    checkpoint = read_checkpoint(path)
    best = checkpoint['message_hub']['runtime_info'].get('best_score', 0.0)
    return dict(iter=checkpoint['meta']['iter'], best=float(best))


class LongRun:
    """Training without an end, whose memory, open files and processes are looked at."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._process = start_process(attempt, run, _ENDLESS)
        self._seen: list[tuple[int, int, int]] = []

    def look(self) -> None:
        """Notes what it takes: bytes in memory, open files, processes."""
        if not self._process.is_alive():
            raise BrokenPromiseError(f'the long run ended: {log_of(self._run)}')
        proc = Path('/proc', str(self._process.pid))
        pages = int((proc / 'statm').read_text().split()[1])
        children = len((proc / 'task' / proc.name / 'children').read_text().split())
        files = len(list((proc / 'fd').iterdir()))
        self._seen.append((pages * os.sysconf('SC_PAGE_SIZE'), files, children))

    def end(self) -> dict[str, Any]:
        """Ends it by a signal; what it did and took.

        Raises:
            BrokenPromiseError: It took more and more, or did not save a checkpoint.
        """
        end_process(self._process, signal.SIGTERM)
        iterations = state_of(self._run)['iter']
        if self._process.exitcode != 128 + signal.SIGTERM or not iterations:
            raise BrokenPromiseError(f'the long run did not save at its end: {log_of(self._run)}')
        check_flat(self._seen)
        memory = [round(seen[0] / 2**20) for seen in self._seen]
        return {'iterations of the long run': iterations, 'its memory in MiB': memory}

    def __enter__(self) -> 'LongRun':
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            end_process(self._process, signal.SIGKILL)


def check_flat(seen: list[tuple[int, int, int]]) -> None:
    """Compares the last third of what a run took with the third before, by their medians.

    Args:
        seen: Bytes in memory, open files and processes, at several times.

    Raises:
        BrokenPromiseError: Memory grew by more than 2 %, or files or processes at all.
    """
    third = len(seen) // 3
    if not third:
        return
    before, after = (
        [statistics.median(column) for column in zip(*part, strict=True)]
        for part in (seen[-2 * third : -third], seen[-third:])
    )
    if after[0] > 1.02 * before[0] or after[1] > before[1] or after[2] > before[2]:
        raise BrokenPromiseError(f'memory, files, processes of a run: {before}, then {after}')
