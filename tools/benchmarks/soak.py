"""Trains the toy config under bad luck: kills, signals, damaged checkpoints, in random order.

Each attempt goes on where the last one stopped, in a process of its own. After each the work dir is
looked at. When training reaches its end, its weights are compared with those of a run that nothing
happened to, and training begins anew. Beside it one long run trains and validates undisturbed: its
memory, open files and processes must not grow.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import mmseg_faseg  # noqa: F401  before OpenMMLab's packages
from mmseg_faseg.apis import load_config, test, train
from mmseg_faseg.checkpoints.latest import newest_whole_checkpoint
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.errors import UserError

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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--seed', type=int, default=0, help='of what happens when')
    parser.add_argument('--out', type=Path, help='JSON file for the counts')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    luck = random.Random(args.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix='soak-') as folder:
        counts = soak(Path(folder), luck, 60 * args.minutes)
    print(json.dumps(counts, indent=2))
    if args.out:
        args.out.write_text(json.dumps(counts, indent=2) + '\n')


def soak(folder: Path, luck: random.Random, seconds: float) -> dict[str, Any]:
    """Does what :mod:`this module <tools.benchmarks.soak>` says.

    Raises:
        BrokenPromiseError: The first thing that does not hold; the log of the attempt is printed.
    """
    end = time.monotonic() + seconds
    reference = _weights(_train_undisturbed(folder / 'undisturbed'))
    run, counts = folder / 'run', Counter()
    handles = None
    with LongRun(folder / 'long') as long_run:
        while time.monotonic() < end:
            long_run.look()
            before = _state(run)
            event = luck.choice(EVENTS)
            event(run, luck)
            counts[event.__name__.strip('_')] += 1
            after = _state(run)
            _check_nothing_lost(run, before, after, damaged=event is _damage_the_newest)
            if after['iter'] == ITERATIONS:
                _check_equal(reference, _weights(run))
                counts['finished, weights equal to the undisturbed run'] += 1
                shutil.rmtree(run)
            found = _handles_and_processes()
            handles = handles or found
            if found != handles:
                raise BrokenPromiseError(
                    f'open files and processes: {handles} at first, now {found}'
                )
        return dict(counts) | long_run.end()


class LongRun:
    """Training without an end, whose memory, open files and processes are looked at."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._process = _start(_attempt, run, _ENDLESS)
        self._seen: list[tuple[int, int, int]] = []

    def look(self) -> None:
        """Notes what it takes: bytes in memory, open files, processes."""
        if not self._process.is_alive():
            raise BrokenPromiseError(f'the long run ended: {_log(self._run)}')
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
        _end(self._process, signal.SIGTERM)
        iterations = _state(self._run)['iter']
        if self._process.exitcode != 128 + signal.SIGTERM or not iterations:
            raise BrokenPromiseError(f'the long run did not save at its end: {_log(self._run)}')
        check_flat(self._seen)
        memory = [round(seen[0] / 2**20) for seen in self._seen]
        return {'iterations of the long run': iterations, 'its memory in MiB': memory}

    def __enter__(self) -> 'LongRun':
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            _end(self._process, signal.SIGKILL)


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


def _kill(run: Path, luck: random.Random) -> None:
    """At a random moment of the whole attempt."""
    process = _start(_attempt, run)
    time.sleep(luck.uniform(0, 12))
    _end(process, signal.SIGKILL)


def _kill_while_saving(run: Path, luck: random.Random) -> None:
    process = _start(_attempt, run)
    seen = time.monotonic() + 60
    while process.is_alive() and time.monotonic() < seen:
        if any(run.glob('.writing-*')):
            time.sleep(luck.uniform(0, 0.1))
            break
        time.sleep(0.001)
    _end(process, signal.SIGKILL)


def _signal(run: Path, luck: random.Random) -> None:
    process = _start(_attempt, run)
    time.sleep(luck.uniform(0, 12))
    _end(process, luck.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]))


def _damage_the_newest(run: Path, luck: random.Random) -> None:
    """Tears it, flips a byte of it, or empties what points to it."""
    path, _ = newest_whole_checkpoint(run) if run.exists() else (None, [])
    others = [file for file in run.glob('iter_*.pth') if file != path]
    if path is None or not any(_is_whole(file) for file in others):
        return  # two damages in a row would leave nothing to go on from
    content = bytearray(path.read_bytes())
    kind = luck.choice(['torn', 'flipped', 'pointer'])
    if kind == 'torn':
        path.write_bytes(content[: luck.randrange(len(content))])
    elif kind == 'flipped':
        content[luck.randrange(len(content))] ^= 1 << luck.randrange(8)
        path.write_bytes(content)
    else:
        (run / 'last_checkpoint').write_text('')


def _is_whole(file: Path) -> bool:
    try:
        read_checkpoint(file)
    except UserError:
        return False
    return True


def _predict(run: Path, luck: random.Random) -> None:
    path, _ = newest_whole_checkpoint(run) if run.exists() else (None, [])
    if path is not None:
        process = _start(_test, run, path)
        process.join()
        if process.exitcode:
            raise BrokenPromiseError(f'testing {path} ended with {process.exitcode}: {_log(run)}')


EVENTS = [_kill, _kill, _kill_while_saving, _signal, _damage_the_newest, _predict]


def _config(run: Path, options: dict | None = None) -> Config:
    cfg = load_config('mmseg_faseg::faseg_toy.py', OPTIONS | (options or {}))
    cfg.work_dir = str(run)
    return cfg


def _attempt(run: Path, options: dict | None = None) -> None:
    train(_config(run, options), resume=True)


def _test(run: Path, path: Path) -> None:
    cfg = _config(run)
    cfg.work_dir = str(run.with_name('test'))
    test(cfg, str(path))


def _start(target, run: Path, *arguments) -> multiprocessing.Process:
    process = fork.Process(target=_logged, args=(target, run, *arguments))
    process.start()
    return process


def _logged(target, run: Path, *arguments) -> None:
    os.setsid()  # so that its workers end with it
    with _log_of(run).open('a') as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    target(run, *arguments)


def _end(process: multiprocessing.Process, number: int) -> None:
    if process.is_alive():
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # ended, or not yet a group of its own
            os.kill(process.pid, number)
    process.join(60)
    if process.is_alive():
        raise BrokenPromiseError(f'still alive 60 s after {signal.Signals(number).name}')


def _train_undisturbed(run: Path) -> Path:
    process = _start(_attempt, run)
    process.join()
    if process.exitcode:
        raise BrokenPromiseError(f'the undisturbed run ended with {process.exitcode}: {_log(run)}')
    return run


def _log(run: Path) -> str:
    return _log_of(run).read_text()[-2000:]


def _log_of(run: Path) -> Path:
    return run.with_name(f'{run.name}.txt')


def _state(run: Path) -> dict:
    """Where training would go on, and its best score."""
    path, _ = newest_whole_checkpoint(run) if run.exists() else (None, [])
    if path is None:
        return dict(iter=0, best=0.0)
    checkpoint = read_checkpoint(path)
    best = checkpoint['message_hub']['runtime_info'].get('best_score', 0.0)
    return dict(iter=checkpoint['meta']['iter'], best=float(best))


def _check_nothing_lost(run: Path, before: dict, after: dict, damaged: bool) -> None:
    if damaged:
        return  # the one before it is what is left
    if after['iter'] < before['iter'] or after['best'] < before['best']:
        raise BrokenPromiseError(f'{before} became {after}: {_log(run)}')


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / f'iter_{ITERATIONS}.pth')['state_dict']


def _check_equal(expected: dict, found: dict) -> None:
    for key, tensor in expected.items():
        if not torch.equal(tensor, found[key]):
            raise BrokenPromiseError(f'{key} differs from the undisturbed run')


def _handles_and_processes() -> tuple[int, int]:
    return len(os.listdir('/proc/self/fd')), len(multiprocessing.active_children())


if __name__ == '__main__':
    sys.exit(main())
