"""Trains a grid of FASeg's variants with several seeds and tabulates what came out."""

import argparse
import itertools
import json
import multiprocessing
import os
import shlex
import statistics
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmseg_faseg.apis import UserError, add_options, load_config, one_line_errors, test, train
from mmseg_faseg.apis.checks import check_data
from mmseg_faseg.apis.complexity import complexity_of, input_size_of
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.files import whole_file

from .results import Report, at_least, check_folder, table
from .variants import HRCA, KEY_POSITIONS, POSITIONAL_QUERIES, Variant, grid

Runs = dict[tuple[Variant, int], Config]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config',
        default='mmseg_faseg::faseg_toy.py',
        help='the config that is varied, or mmseg_faseg::NAME.py (default: %(default)s)',
    )
    parser.add_argument('--work-dir', default='work_dirs/ablation', help='default: %(default)s')
    parser.add_argument(
        '--positional-query',
        nargs='+',
        choices=POSITIONAL_QUERIES,
        default=list(POSITIONAL_QUERIES),
    )
    parser.add_argument('--hrca', nargs='+', choices=HRCA, default=['none', 'block'])
    parser.add_argument(
        '--ratio',
        nargs='+',
        type=float,
        default=[1 / 32],
        help="share of the coarse tokens that HRCA's regions lie under (k)",
    )
    parser.add_argument('--key-pos', nargs='+', choices=KEY_POSITIONS, default=['conditional'])
    parser.add_argument('--threshold', nargs='+', type=float, default=[0.15])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time; they share the cores')
    add_options(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    at_least(1, jobs=args.jobs)
    at_least(0, seeds=min(args.seeds))
    check_folder(args.work_dir, '--work-dir')
    base = load_config(args.config, args.cfg_options)
    variants = grid(args.positional_query, args.hrca, args.ratio, args.key_pos, args.threshold)
    ablate(base, variants, args.seeds, args.work_dir, args.jobs)


def ablate(
    base: Config, variants: Sequence[Variant], seeds: Sequence[int], work_dir: str, jobs: int = 1
) -> None:
    """Trains and tests every variant with every seed, and writes the table after each run.

    Finished runs are not repeated and interrupted ones go on from their last checkpoint.

    Args:
        base: A FASeg config.
        variants: What to train.
        seeds: Seeds of each.
        work_dir: Folder for runs and tables.
        jobs: Runs at a time; they share the cores.

    Raises:
        UserError: A variant does not fit the config, ``work_dir`` holds runs of another config or
            there are no data, before anything else; or runs failed: their logs are named, the
            others are finished.
    """
    configs = {variant: variant.apply(base) for variant in variants}
    runs: Runs = {}
    for (variant, cfg), seed in itertools.product(configs.items(), seeds):
        run_dir = str(Path(work_dir, str(variant), f'seed{seed}'))
        runs[variant, seed] = Config(
            cfg.to_dict() | dict(work_dir=run_dir, randomness=dict(seed=seed))
        )
        _check_unclaimed(runs[variant, seed])
    check_data(base, ['train_dataloader', 'test_dataloader'])
    sizes = {variant: input_size_of(cfg) for variant, cfg in configs.items()}
    for cfg in configs.values():
        build_model(cfg)
    costs = {}
    for variant, cfg in configs.items():
        cost = complexity_of(cfg, sizes[variant])
        costs[str(variant)] = dict(parameters=cost.params, FLOPs=cost.flops)
    command = shlex.join(['python', *sys.argv])
    report = Report(work_dir, 'ablation', markdown, command=command, variants=costs, runs=[])
    for cfg in runs.values():
        _claim(cfg)
    with report.kept_at_interruption():
        failed = _run_all(runs, jobs, report)
        report.write()
    if failed:
        raise UserError(f'runs failed, see log.txt there: {", ".join(failed)}')


def _check_unclaimed(cfg: Config) -> None:
    """Sees that a run's folder holds no run of another config."""
    run_dir = Path(cfg.work_dir)
    has_run = any(run_dir.glob('iter_*.pth')) or (run_dir / 'result.json').exists()
    if has_run and (run_dir / 'config.py').read_text() != cfg.pretty_text:
        raise UserError(
            f'{run_dir} holds a run of another config (see config.py there): give another '
            '--work-dir, or delete it'
        )


def _claim(cfg: Config) -> None:
    """Writes the run's config to its folder."""
    run_dir = Path(cfg.work_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    with whole_file(run_dir / 'config.py') as temporary:
        temporary.write_text(cfg.pretty_text)


def _run_all(runs: Runs, jobs: int, report: Report) -> list[str]:
    """Runs what has no result yet, ``jobs`` at a time; returns the folders of those that failed."""
    failed = []
    finished = {key for key, cfg in runs.items() if Path(cfg.work_dir, 'result.json').exists()}
    for key in runs:
        if key in finished:
            _add_result(report, key, runs[key])
    pool = ThreadPoolExecutor(jobs)
    try:
        keys = {
            pool.submit(_run_apart, cfg, jobs): key
            for key, cfg in runs.items()
            if key not in finished
        }
        for future in as_completed(keys):
            cfg, error = runs[keys[future]], future.exception()
            if error is None:
                _add_result(report, keys[future], cfg)
            else:
                failed.append(f'{cfg.work_dir} ({error})')
                print(f'{cfg.work_dir}: failed', flush=True)
    finally:  # after Ctrl-C those that wait are not started
        pool.shutdown(cancel_futures=True)
    return failed


def _add_result(report: Report, key: tuple[Variant, int], cfg: Config) -> None:
    result = json.loads(Path(cfg.work_dir, 'result.json').read_text())
    variant, seed = key
    row = dict(variant=str(variant), **variant._asdict(), seed=seed, **result)
    report.add('runs', row, f'{variant}, seed {seed}: mIoU {result["miou"]:.2f}')


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
    with (run_dir / 'log.txt').open('a') as log, redirect_stdout(log), redirect_stderr(log):
        try:
            if not checkpoint.exists():
                train(cfg, resume=True)
            miou = test(cfg, str(checkpoint))['mIoU']
        except Exception:
            traceback.print_exc(file=log)
            sys.exit(1)
    with whole_file(run_dir / 'result.json') as temporary:
        temporary.write_text(json.dumps(dict(miou=float(miou))))


def markdown(results: dict[str, Any]) -> str:
    """A line for each variant."""
    titles = ['variant', 'mIoU, mean ± standard deviation', 'by seed', 'parameters', 'FLOPs']
    rows = []
    for variant, cost in results['variants'].items():
        own = sorted(
            (run for run in results['runs'] if run['variant'] == variant),
            key=lambda run: run['seed'],
        )
        mious = [run['miou'] for run in own]
        spread = f' ± {statistics.stdev(mious):.2f}' if len(mious) > 1 else ''
        rows.append(
            [
                variant,
                f'{statistics.mean(mious):.2f}{spread}' if mious else '',
                ', '.join(f'{miou:.2f}' for miou in mious),
                f'{cost["parameters"] / 1e6:.2f} M',
                f'{cost["FLOPs"] / 1e9:.2f} G',
            ]
        )
    return f'```bash\n{results["command"]}\n```\n\n' + table(titles, rows)
