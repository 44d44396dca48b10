"""Trains configs, the rows of an ablation, with several seeds and tabulates what came out."""

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
from mmengine.utils import import_modules_from_strings

from mmseg_faseg.apis import UserError, add_options, load_config, one_line_errors, test, train
from mmseg_faseg.apis.checks import check_data, check_pretrained
from mmseg_faseg.apis.complexity import complexity_of, input_size_of
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.checkpoints.read import check_checkpoint
from mmseg_faseg.files import whole_file

from .results import Report, at_least, check_folder, mean_and_deviation, table

# What is shown of validations: the first that there is.
_MAIN = ('coco_panoptic/PQ', 'mIoU', 'coco/segm_mAP')
Runs = dict[tuple[str, int], Config]  # by the stem of the config's file, and seed


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', help='config files, or mmseg_faseg::NAME.py')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time; they share the cores')
    parser.add_argument('--work-dir', default='work_dirs/ablation', help='default: %(default)s')
    add_options(parser)
    args = parser.parse_args()
    at_least(1, jobs=args.jobs)
    at_least(0, seeds=min(args.seeds))
    check_folder(args.work_dir, '--work-dir')
    configs = [load_config(name, args.cfg_options) for name in args.configs]
    ablate(configs, args.seeds, args.work_dir, args.jobs)


def ablate(configs: Sequence[Config], seeds: Sequence[int], work_dir: str, jobs: int = 1) -> None:
    """Trains and tests every config with every seed, and writes the table after each run.

    Finished runs are not repeated and interrupted ones go on from their last checkpoint.

    Raises:
        UserError: A config cannot be trained and tested, ``work_dir`` holds runs of another config,
            or data or weights are missing, before anything is trained; or runs failed: their logs
            are named, the others are finished.
    """
    rows = {Path(cfg.filename).stem: cfg for cfg in configs}
    if len(rows) < len(configs):
        raise UserError(f'each file needs a name of its own, got {[c.filename for c in configs]}')
    runs: Runs = {}
    for seed, (row, cfg) in itertools.product(dict.fromkeys(seeds), rows.items()):
        own = dict(work_dir=str(Path(work_dir, row, f'seed{seed}')), randomness=dict(seed=seed))
        runs[row, seed] = Config(cfg.to_dict() | own)
        _check_unclaimed(runs[row, seed])
    for cfg in configs:
        _check(cfg)
    costs = {row: _cost_of(cfg) for row, cfg in rows.items()}
    for cfg in configs:  # fetched once, before runs do it side by side
        check_checkpoint(cfg.load_from) if cfg.get('load_from') else check_pretrained(cfg)
    for cfg in runs.values():
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
        with whole_file(Path(cfg.work_dir, 'config.py')) as temporary:
            temporary.write_text(cfg.pretty_text)
    command = shlex.join(['python', *sys.argv])
    report = Report(work_dir, 'ablation', markdown, command=command, configs=costs, runs=[])
    with report.kept_at_interruption():
        failed = _run_all(runs, jobs, report)
        report.write()
    if failed:
        raise UserError(f'runs failed, see log.txt there: {", ".join(failed)}')


def _check_unclaimed(cfg: Config) -> None:
    """Sees that a run's folder holds no run of another config."""
    run_dir, claim = Path(cfg.work_dir), Path(cfg.work_dir, 'config.py')
    has_run = any(run_dir.glob('iter_*.pth')) or _result(cfg).exists()
    if has_run and not (claim.exists() and claim.read_text() == cfg.pretty_text):
        raise UserError(
            f'{run_dir} holds a run of another config (see config.py there): give another '
            '--work-dir, or delete it'
        )


def _check(cfg: Config) -> None:
    """Sees that a config has what a run and its table need, and that its data are there."""
    name, logger = f'config {cfg.filename}', cfg.get('default_hooks', {}).get('logger', {})
    if 'max_iters' not in (cfg.get('train_cfg') or {}) or not cfg.get('test_cfg'):
        raise UserError(f'{name} has no train_cfg.max_iters, or no test_cfg')
    if 'LocalVisBackend' not in str(cfg.get('visualizer')) or logger.get('log_metric_by_epoch', 1):
        raise UserError(
            f'{name}: the table is made from vis_data/scalars.json, which takes a visualizer with '
            "LocalVisBackend, as in MMSegmentation's default_runtime.py, and "
            'default_hooks.logger.log_metric_by_epoch=False'
        )
    loops = [loop for loop in ('train', 'val', 'test') if cfg.get(f'{loop}_cfg')]
    check_data(cfg, [f'{loop}_dataloader' for loop in loops])


def _cost_of(cfg: Config) -> dict[str, int | None]:
    """Parameters and FLOPs of a config's model; None for FLOPs that cannot be counted."""
    model = build_model(cfg)
    parameters = sum(p.numel() for p in model.parameters())
    try:
        return dict(parameters=parameters, FLOPs=complexity_of(model, input_size_of(cfg)).flops)
    except UserError as error:
        print(f'{cfg.filename}: FLOPs are not counted: {error}', flush=True)
        return dict(parameters=parameters, FLOPs=None)


def _run_all(runs: Runs, jobs: int, report: Report) -> list[str]:
    """Runs what has no result yet, ``jobs`` at a time; returns the folders of those that failed."""
    failed, pool = [], ThreadPoolExecutor(jobs)
    finished_first = sorted(runs, key=lambda key: not _result(runs[key]).exists())
    try:
        keys = {pool.submit(_run_apart, runs[key], jobs): key for key in finished_first}
        for future in as_completed(keys):
            (row, seed), error = keys[future], future.exception()
            if error is not None:
                failed.append(f'{runs[row, seed].work_dir} ({error})')
                print(f'{runs[row, seed].work_dir}: failed', flush=True)
                continue
            result = json.loads(_result(runs[row, seed]).read_text())
            metrics = ', '.join(f'{name} {value:.2f}' for name, value in result['metrics'].items())
            run = dict(config=row, seed=seed, **result)
            report.add('runs', run, f'{row}, seed {seed}: {metrics}')
    finally:  # after Ctrl-C those that wait are not started
        pool.shutdown(cancel_futures=True)
    return failed


def _result(cfg: Config) -> Path:
    return Path(cfg.work_dir, 'result.json')


def _run_apart(cfg: Config, jobs: int) -> None:
    """Runs a config without a result in a process of its own, and waits for its end."""
    if _result(cfg).exists():
        return
    process = multiprocessing.get_context('spawn').Process(target=_run, args=(cfg.to_dict(), jobs))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f'exit status {process.exitcode}')


def _run(cfg: dict, jobs: int) -> None:
    """Trains and tests one config; its output goes to ``log.txt``."""
    share = max(1, len(os.sched_getaffinity(0)) // jobs)
    torch.set_num_threads(min(share, torch.get_num_threads()))  # OMP_NUM_THREADS may say less
    run_dir = Path(cfg['work_dir'])
    with (run_dir / 'log.txt').open('a') as log, redirect_stdout(log), redirect_stderr(log):
        try:
            import_modules_from_strings(**cfg.get('custom_imports', dict(imports=None)))
            result = _train_and_test(Config(cfg))
        except Exception:
            traceback.print_exc(file=log)
            sys.exit(1)
    with whole_file(run_dir / 'result.json') as temporary:
        temporary.write_text(json.dumps(result))


def _train_and_test(cfg: Config) -> dict[str, Any]:
    """Trains to the end, from where an interrupted run stopped, and tests."""
    run_dir = Path(cfg.work_dir)
    last = run_dir / f'iter_{cfg.train_cfg.max_iters}.pth'
    train(cfg, resume=True)
    metrics = {name: float(value) for name, value in test(cfg, str(last)).items()}
    points, seconds = _read_log(run_dir)
    seconds = statistics.median(seconds) if seconds else None
    return dict(metrics=metrics, points=points, seconds_per_iteration=seconds)


def _read_log(run_dir: Path) -> tuple[dict[int, dict[str, float]], list[float]]:
    """Metrics of each validation by iteration, and seconds of the iterations that are logged."""
    points, seconds = {}, []
    for file in sorted(run_dir.rglob('scalars.json')):  # one for each time that it went on
        for line in map(json.loads, file.read_text().splitlines()):
            if 'loss' in line:
                seconds.append(line['time'])
            else:
                points.setdefault(line.pop('step'), {}).update(line)
    return points, seconds


def markdown(results: dict[str, Any]) -> str:
    """A line for each config: of the test, and of validations with what the model costs."""
    runs: dict[str, list[dict]] = {row: [] for row in results['configs']}
    for run in sorted(results['runs'], key=lambda run: run['seed']):
        runs[run['config']].append(run)
    metrics = dict.fromkeys(name for run in results['runs'] for name in run['metrics'])
    points = [point for run in results['runs'] for point in run['points'].items()]
    main = next((name for name in _MAIN if any(name in found for _, found in points)), _MAIN[0])
    steps = sorted({step for step, found in points if main in found}, key=int)
    tested, validated = [], []
    for row, cost in results['configs'].items():
        own = runs[row]
        means = [
            mean_and_deviation(_percent(name, run['metrics']) for run in own) for name in metrics
        ]
        tested.append([row, ', '.join(str(run['seed']) for run in own), *means])
        means = [
            mean_and_deviation(_percent(main, run['points'].get(step, {})) for run in own)
            for step in steps
        ]
        flops = f'{cost["FLOPs"] / 1e9:.2f} G' if cost['FLOPs'] else ''
        seconds = [run['seconds_per_iteration'] for run in own if run['seconds_per_iteration']]
        seconds = f'{statistics.median(seconds):.2f}' if seconds else ''
        validated.append([row, *means, f'{cost["parameters"] / 1e6:.2f} M', flops, seconds])
    tested = table(['config', 'seeds', *metrics], tested)
    at = [f'{main} at {step}' for step in steps]
    titles = ['config', *at, 'parameters', 'FLOPs', 'seconds per iteration']
    return f'```bash\n{results["command"]}\n```\n\n{tested}\n{table(titles, validated)}'


def _percent(name: str, metrics: dict[str, float]) -> float | None:
    """COCO's average precisions are shares, and -1 where there is nothing; others are percent."""
    value = metrics.get(name)
    if value is None or not name.startswith('coco/'):
        return value
    return None if value < 0 else 100 * value
