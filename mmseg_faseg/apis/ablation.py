"""The paper's ablations: a grid of variants of one config, each trained with several seeds."""

import csv
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
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from .complexity import Complexity, complexity_of, input_size_of
from .config import load_config
from .errors import UserError
from .files import whole_file
from .run import test, train

POSITIONAL_QUERIES = {
    'learned': 'LearnedPositionalQuery',
    'anchor': 'AnchorPositionalQuery',
    'dynamic': 'DynamicFocusPositionalQuery',
}
HRCA = ('none', 'block', 'pixel')
KEY_POSITIONS = ('sinusoid', 'conditional')


class Variant(NamedTuple):
    """One cell of the grid.

    Attributes:
        positional_query: 'learned', 'anchor' or 'dynamic' (DFPQ).
        hrca: 'none' or how regions are chosen, 'block' or 'pixel'.
        ratio: Share of the coarse tokens whose regions HRCA attends to; None without HRCA.
        key_pos: K_p, 'sinusoid' or 'conditional'.
        threshold: A layer attends where the last mask's sigmoid is at least this.
    """

    positional_query: str
    hrca: str
    ratio: float | None
    key_pos: str
    threshold: float

    def __str__(self) -> str:
        hrca = self.hrca if self.ratio is None else f'{self.hrca}-{self.ratio}'
        return f'{self.positional_query}_{hrca}_{self.key_pos}_{self.threshold}'

    def apply(self, base: Config) -> Config:
        """The variant's config.

        Without HRCA its layers go, and with them the level that only they visit: 13 layers in
        rounds of four become 10 in rounds of three.

        Raises:
            UserError: ``base`` is no FASeg config with HRCA.
        """
        cfg = Config(base.to_dict(), filename=base.filename)
        head = cfg.model.decode_head
        if head.get('type') != 'FASegHead' or not head.get('high_res_attn'):
            raise UserError(f'config {base.filename}: variants are made of a FASegHead with HRCA')
        if 'max_iters' not in cfg.get('train_cfg', {}):
            raise UserError(f'config {base.filename} has no train_cfg.max_iters')
        kind = POSITIONAL_QUERIES[self.positional_query]
        if head.positional_query.type != kind:
            head.positional_query = dict(type=kind)
        if self.hrca == 'none':
            layers = head.transformer_decoder.num_layers
            head.transformer_decoder.num_layers = layers - layers // 4
            head.num_transformer_feat_level = 3
            head.high_res_attn = None
        else:
            head.high_res_attn.update(region=self.hrca, ratio=self.ratio)
        if self.key_pos == 'sinusoid':
            head.positional_encoding = dict(
                type='mmdet.SinePositionalEncoding',
                num_feats=head.feat_channels // 2,
                normalize=True,
            )
        head.mask_threshold = self.threshold
        return cfg


class Result(NamedTuple):
    """What came out of one run.

    Attributes:
        variant: The cell.
        seed: Its seed.
        miou: On the test set, in percent.
        seconds: Per training iteration, the median; None if none was logged.
    """

    variant: Variant
    seed: int
    miou: float
    seconds: float | None


def grid(
    positional_queries: Sequence[str],
    hrca: Sequence[str],
    ratios: Sequence[float],
    key_pos: Sequence[str],
    thresholds: Sequence[float],
) -> list[Variant]:
    """All combinations, those without HRCA once whatever its ratio."""
    cells = itertools.product(positional_queries, hrca, ratios, key_pos, thresholds)
    variants = (
        Variant(query, region, None if region == 'none' else ratio, pos, threshold)
        for query, region, ratio, pos, threshold in cells
    )
    return list(dict.fromkeys(variants))


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


def write_tables(folder: Path, costs: dict[Variant, Complexity], results: list[Result]) -> None:
    """Writes ``ablation.csv`` and ``ablation.md`` to ``folder``, in the order of ``costs``."""
    order = list(costs)
    results = sorted(results, key=lambda result: (order.index(result.variant), result.seed))
    with whole_file(folder / 'ablation.csv') as temporary, temporary.open('w') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(
            [*Variant._fields, 'seed', 'mIoU', 'parameters', 'FLOPs', 'seconds per iteration']
        )
        for variant, seed, miou, seconds in results:
            cost = costs[variant]
            writer.writerow([*variant, seed, round(miou, 2), cost.params, cost.flops, seconds])
    rows = [
        _row(variant, [result for result in results if result.variant == variant], cost)
        for variant, cost in costs.items()
    ]
    titles = [
        'positional query',
        'HRCA (share)',
        'K_p',
        'threshold',
        'mIoU, mean ± standard deviation',
        'by seed',
        'parameters',
        'FLOPs',
        'seconds per iteration',
    ]
    lines = [titles, ['---'] * len(titles), *rows]
    with whole_file(folder / 'ablation.md') as temporary:
        temporary.write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines))


def _row(variant: Variant, results: list[Result], cost: Complexity) -> list[str]:
    mious = [result.miou for result in results]
    seconds = [result.seconds for result in results if result.seconds is not None]
    spread = f' ± {statistics.stdev(mious):.2f}' if len(mious) > 1 else ''
    return [
        variant.positional_query,
        variant.hrca if variant.ratio is None else f'{variant.hrca} ({variant.ratio:.3g})',
        variant.key_pos,
        f'{variant.threshold:g}',
        f'{statistics.mean(mious):.2f}{spread}' if mious else '',
        ', '.join(f'{miou:.2f}' for miou in mious),
        f'{cost.params / 1e6:.2f} M',
        f'{cost.flops / 1e9:.2f} G',
        f'{statistics.median(seconds):.2f}' if seconds else '',
    ]
