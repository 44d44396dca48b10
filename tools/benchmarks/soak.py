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
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from mmseg_faseg.checkpoints.latest import newest_whole_checkpoint
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.errors import UserError

from .soak_runs import (
    ITERATIONS,
    BrokenPromiseError,
    LongRun,
    attempt,
    end_process,
    evaluate,
    log_of,
    start_process,
    state_of,
)


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
            before = state_of(run)
            event = luck.choice(EVENTS)
            event(run, luck)
            counts[event.__name__.strip('_')] += 1
            after = state_of(run)
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


def _kill(run: Path, luck: random.Random) -> None:
    """At a random moment of the whole attempt."""
    process = start_process(attempt, run)
    time.sleep(luck.uniform(0, 12))
    end_process(process, signal.SIGKILL)


def _kill_while_saving(run: Path, luck: random.Random) -> None:
    process = start_process(attempt, run)
    seen = time.monotonic() + 60
    while process.is_alive() and time.monotonic() < seen:
        if any(run.glob('.writing-*')):
            time.sleep(luck.uniform(0, 0.1))
            break
        time.sleep(0.001)
    end_process(process, signal.SIGKILL)


def _signal(run: Path, luck: random.Random) -> None:
    process = start_process(attempt, run)
    time.sleep(luck.uniform(0, 12))
    end_process(process, luck.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]))


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
        process = start_process(evaluate, run, path)
        process.join()
        if process.exitcode:
            raise BrokenPromiseError(f'testing {path} ended with {process.exitcode}: {log_of(run)}')


EVENTS = [_kill, _kill, _kill_while_saving, _signal, _damage_the_newest, _predict]


def _train_undisturbed(run: Path) -> Path:
    process = start_process(attempt, run)
    process.join()
    if process.exitcode:
        raise BrokenPromiseError(
            f'the undisturbed run ended with {process.exitcode}: {log_of(run)}'
        )
    return run


def _check_nothing_lost(run: Path, before: dict, after: dict, damaged: bool) -> None:
    if damaged:
        return  # the one before it is what is left
    if after['iter'] < before['iter'] or after['best'] < before['best']:
        raise BrokenPromiseError(f'{before} became {after}: {log_of(run)}')


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
