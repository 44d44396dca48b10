"""Trains and tests variants, each with several seeds, so that a call goes on where one stopped."""

import itertools
import json
import multiprocessing
import os
import statistics
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..apis import UserError, load_config, test, train
from ..apis.complexity import complexity_of, input_size_of
from ..files import whole_file
from .tables import Result, write_tables
from .variants import Variant


def ablate(
    config: str,
    variants: Iterable[Variant],
    seeds: Sequence[int],
    work_dir: str,
    jobs: int = 1,
    options: dict[str, Any] | None = None,
) -> Path:
    """Trains and tests every variant with every seed, and writes the table.

    Finished runs are not repeated and interrupted ones go on from their last checkpoint. The table
    is written anew after each run: ``ablation.csv`` with a line per run, ``ablation.md`` with a
    line per variant.

    Args:
        config: Path of a FASeg config, or one of ours by name.
        variants: What to train.
        seeds: Seeds of each.
        work_dir: Folder for runs and tables.
        jobs: Runs at a time; they share the cores.
        options: What ``--cfg-options`` gave, for all runs.

    Returns:
        The Markdown table.

    Raises:
        UserError: A variant does not fit the config, ``work_dir`` holds runs of another config,
            or runs failed; their logs are named. The others are finished.
    """
    if jobs < 1 or min(seeds) < 0:
        raise UserError(f'--jobs must be at least 1 and --seeds 0, got {jobs} and {min(seeds)}')
    base = load_config(config, options)
    configs = {variant: variant.apply(base) for variant in variants}
    costs = {variant: complexity_of(cfg, input_size_of(cfg)) for variant, cfg in configs.items()}
    folder = Path(work_dir)
    runs = {}
    for (variant, cfg), seed in itertools.product(configs.items(), seeds):
        run_dir = folder / str(variant) / f'seed{seed}'
        cfg = Config(cfg.to_dict() | dict(work_dir=str(run_dir), randomness=dict(seed=seed)))
        _claim(run_dir, cfg)
        runs[variant, seed] = cfg
    results = [Result(*key, **done) for key, cfg in runs.items() if (done := _read_result(cfg))]
    done = {(result.variant, result.seed) for result in results}
    write_tables(folder, costs, results)
    failed = []
    waiting = {key: cfg for key, cfg in runs.items() if key not in done}
    for (variant, seed), error in _run_all(waiting, jobs):
        cfg = runs[variant, seed]
        if error is None:
            results.append(Result(variant, seed, **_read_result(cfg)))
            print(f'{variant}, seed {seed}: mIoU {results[-1].miou:.2f}', flush=True)
            write_tables(folder, costs, results)
        else:
            failed.append(f'{cfg.work_dir} ({error})')
            print(f'{variant}, seed {seed}: failed', flush=True)
    if failed:
        raise UserError(f'runs failed, see log.txt there: {", ".join(failed)}')
    return folder / 'ablation.md'


def _claim(run_dir: Path, cfg: Config) -> None:
    """Writes the run's config to its folder, or sees that it is the one that has run there."""
    file = run_dir / 'config.py'
    has_run = any(run_dir.glob('iter_*.pth')) or (run_dir / 'result.json').exists()
    if not has_run:
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'--work-dir: {error}') from None
        with whole_file(file) as temporary:
            temporary.write_text(cfg.pretty_text)
    elif file.read_text() != cfg.pretty_text:
        raise UserError(
            f'{run_dir} holds a run of another config (see config.py there): give another '
            '--work-dir, or delete it'
        )


def _read_result(cfg: Config) -> dict[str, float] | None:
    file = Path(cfg.work_dir, 'result.json')
    return json.loads(file.read_text()) if file.exists() else None


def _run_all(
    runs: dict[tuple[Variant, int], Config], jobs: int
) -> Iterator[tuple[tuple[Variant, int], BaseException | None]]:
    """Runs configs, ``jobs`` at a time, and yields the key of each as it ends, and its error."""
    pool = ThreadPoolExecutor(jobs)
    try:
        keys = {pool.submit(_run_apart, cfg, jobs): key for key, cfg in runs.items()}
        for future in as_completed(keys):
            yield keys[future], future.exception()
    finally:  # after Ctrl-C those that wait are not started
        pool.shutdown(cancel_futures=True)


def _run_apart(cfg: Config, jobs: int) -> None:
    """Runs a config in a process of its own, and waits for its end."""
    process = multiprocessing.get_context('spawn').Process(target=_run, args=(cfg.to_dict(), jobs))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f'exit status {process.exitcode}')


def _run(cfg: dict, jobs: int) -> None:
    """Trains and tests one config; its output goes to ``log.txt``."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // jobs))
    cfg = Config(cfg)
    run_dir = Path(cfg.work_dir)
    checkpoint = run_dir / f'iter_{cfg.train_cfg.max_iters}.pth'
    with (
        (run_dir / 'log.txt').open('a') as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        try:
            if not checkpoint.exists():
                train(cfg, resume=True)
            miou = test(cfg, str(checkpoint))['mIoU']
        except Exception:
            traceback.print_exc(file=log)
            sys.exit(1)
    result = dict(miou=float(miou), seconds=_seconds_per_iteration(run_dir))
    with whole_file(run_dir / 'result.json') as temporary:
        temporary.write_text(json.dumps(result))


def _seconds_per_iteration(run_dir: Path) -> float | None:
    """Median over what MMEngine logged during training; None if it logged nothing."""
    lines = [
        json.loads(line)
        for file in run_dir.glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
    ]
    seconds = [round(line['time'], 4) for line in lines if 'loss' in line]
    return statistics.median(seconds) if seconds else None
