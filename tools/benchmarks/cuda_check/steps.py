"""The steps of the check: each runs one of the project's tools for a limited time."""

import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmseg_faseg.apis import load_config

from .process import ENDING_SECONDS, run

# How a step ended: done; stopped at its own limit; stopped as all time was over; with an error.
FINISHED, STOPPED, UNFINISHED, FAILED = 'finished', 'stopped', 'unfinished', 'failed'
# Kinds of steps, as --skip names them.
KINDS = ('tests', 'benchmark', 'loading', 'training')

Result = dict[str, Any]


class Models(NamedTuple):
    """What is measured and trained, FASeg first; numbers are as ``tools/benchmark.py`` takes them.

    Attributes:
        benchmark: Configs whose time and memory are measured.
        training: Configs that are trained.
        crop: Size of the images that these train on.
        sizes: Of the measured images.
        precisions: In which they are measured.
        batches: Numbers of images.
        repeats: Timed runs.
    """

    benchmark: tuple[str, str]
    training: tuple[str, str]
    crop: int
    sizes: tuple[str, ...]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    repeats: int


_TOYS = ('mmseg_faseg::faseg_toy.py', 'mmseg_faseg::mask2former_toy.py')
MODELS = {
    'cuda': Models(
        ('mmseg_faseg::faseg_swin-t_ade20k.py', 'mmseg_faseg::mask2former_swin-t_ade20k.py'),
        ('mmseg_faseg::faseg_r18_camvid.py', 'mmseg_faseg::mask2former_r18_camvid.py'),
        crop=256,
        sizes=('512', '1024x2048'),
        precisions=('float32', 'float16', 'tf32', 'bfloat16'),
        batches=(1, 2, 8),
        repeats=10,
    ),
    # A dry run of everything but CUDA.
    'cpu': Models(_TOYS, _TOYS, 128, ('64',), ('float32',), (1, 2), 2),
}


class Settings(NamedTuple):
    """What the check is asked to do; as the options of the same names, and

    Attributes:
        root: The repository, whose tools and tests run.
        data: The options of the tools that say where the data to train on lie.
    """

    root: Path
    out: Path
    device: str
    train_minutes: float
    seeds: tuple[int, ...]
    data: dict[str, str]


class Step(NamedTuple):
    """A part of the check that is done at once and reported at once.

    Attributes:
        name: Under which its result is kept, such as 'benchmark/float32-batch1'.
        least: Seconds below which it is not begun.
        most: Seconds that it may take.
        run: Does it in the seconds that it is given. The result has ``status``, ``seconds`` and
            ``log``, a ``message`` if it failed, and ``markdown`` for the report.
    """

    name: str
    least: float
    most: float
    run: Callable[[float], Result]


def all_steps(settings: Settings) -> Iterator[Step]:
    """Everything, the most important first: a short limit still has some of each kind."""
    models = MODELS[settings.device]
    first, *other_seeds = settings.seeds
    crop = ['--size', models.crop, '--batch', 2, '--no-memory']
    measured = [
        _benchmark(
            settings,
            f'{precision}-batch{batch}',
            *(*models.benchmark, '--precision', precision, '--batch', batch),
            *('--size', *models.sizes, '--tasks', 'predict', 'segmentor', 'iteration'),
        )
        for batch in models.batches
        for precision in models.precisions
    ]
    yield Step('tests', 60, 900, partial(_tests, settings))
    yield from measured[:2]
    if settings.device == 'cuda':
        for precision in models.precisions[:2]:
            yield _benchmark(
                settings,
                f'{precision}-graphs',
                *(*models.benchmark, '--precision', precision, '--size', *models.sizes),
                *('--tasks', 'segmentor', '--cfg-options', 'model.cuda_graphs=True'),
            )
    yield from _training(settings, first)
    yield _benchmark(settings, 'trained', *models.training, *crop, '--tasks', 'iteration')
    yield Step('loading', 60, 300, partial(_loading, settings))
    yield from measured[2:]
    for seed in other_seeds:
        yield from _training(settings, seed)


def _tests(settings: Settings, seconds: float) -> Result:
    result = run_tool(settings, 'tests', seconds, '-m', 'pytest', '-m', 'cuda', '-q', '-rfEs')
    if 'message' in result:  # pytest's last line counts what passed and what failed
        result['message'] = result['message'].replace('exit status 1: ', '')
    log = (settings.out / result['log']).read_text(errors='replace')
    summary = re.split(r'^=+ short test summary info =+$', log, flags=re.MULTILINE)[-1]
    return result | dict(markdown=f'```\n{summary.strip()[-20_000:]}\n```\n')


def _benchmark(settings: Settings, name: str, *arguments: object) -> Step:
    name = f'benchmark/{name}'
    models = MODELS[settings.device]
    options = ['--device', settings.device, '--repeats', models.repeats]
    command = ['tools/benchmark.py', *options, *arguments]
    return Step(name, 60, 900, partial(_run_with_report, settings, name, 'benchmark.md', command))


def _loading(settings: Settings, seconds: float) -> Result:
    command = ['tools/benchmark_loading.py', MODELS[settings.device].training[0], '--seconds', 5]
    file = settings.out / 'benchmark' / 'trained' / 'benchmark.json'
    rows = json.loads(file.read_text())['rows'] if file.exists() else []
    if rows and 'seconds' in rows[0]:  # of two images
        command += ['--consumes', f'{2 / statistics.median(rows[0]["seconds"][0]):.1f}']
    options = [f'{key}={value}' for key, value in settings.data.items()]
    command += ['--cfg-options', *options] if options else []
    return _run_with_report(settings, 'loading', 'loading.md', command, seconds)


def _run_with_report(
    settings: Settings, name: str, file: str, command: list[object], seconds: float
) -> Result:
    """Runs a tool that writes a report of its own, and takes it over."""
    folder = settings.out / name
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run that was stopped
    result = run_tool(settings, name, seconds, *command, '--out', folder)
    if (folder / file).exists():  # even if its end came too early
        result['markdown'] = (folder / file).read_text()
    return result


def _training(settings: Settings, seed: int) -> Iterator[Step]:
    """FASeg and its baseline, trained for the same time at most and evaluated."""
    for config in MODELS[settings.device].training:
        name = f'training/{Path(config.rpartition("::")[2]).stem}-seed{seed}'
        seconds = 60 * settings.train_minutes + 240  # to start, and to evaluate
        yield Step(name, seconds, seconds, partial(_train_and_test, settings, name, config, seed))


def _train_and_test(
    settings: Settings, name: str, config: str, seed: int, seconds: float
) -> Result:
    """Trains, going on from where an earlier call stopped, and tests the last checkpoint."""
    folder = settings.out / name
    folder.mkdir(parents=True, exist_ok=True)
    cfg = load_config(config, settings.data)
    cfg.randomness = dict(seed=seed)
    hook = dict(type='TimeLimitHook', minutes=settings.train_minutes)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None  # time is for training
    cfg.default_hooks.checkpoint.pop('save_best', None)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 2  # the last is not whole while it is written
    cfg.dump(str(folder / 'config.py'))
    arguments = ('tools/train.py', folder / 'config.py', '--work-dir', folder, '--resume')
    result = run_tool(settings, name, seconds - 120, *arguments)
    if result['status'] != FINISHED:
        return result
    checkpoint = Path((folder / 'last_checkpoint').read_text().strip()).name
    shutil.rmtree(folder / 'test', ignore_errors=True)
    tested = run_tool(
        *(settings, f'{name}-test', 120 - ENDING_SECONDS, 'tools/test.py'),
        *(folder / 'config.py', folder / checkpoint, '--work-dir', folder / 'test'),
    )
    if tested['status'] != FINISHED:
        return tested
    (metrics,) = (folder / 'test').glob('*/*.json')
    iteration = int(re.search(r'iter_(\d+)', checkpoint)[1])
    miou = json.loads(metrics.read_text())['mIoU']
    text = f'mIoU {miou:.2f} after {iteration} of {cfg.train_cfg.max_iters} iterations.\n'
    return result | dict(mIoU=miou, iteration=iteration, markdown=text)


def run_tool(settings: Settings, name: str, seconds: float, *arguments: object) -> Result:
    """Runs Python with arguments in the repository; how that ended is the start of a result."""
    log = Path('logs') / f'{name.replace("/", "-")}.log'
    environment = dict(PYTHONUNBUFFERED='1')
    if settings.device == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    command = [sys.executable, *map(str, arguments)]
    ended = run(command, settings.out / log, seconds, settings.root, environment)
    status = {None: STOPPED, 0: FINISHED}.get(ended.code, FAILED)
    result: Result = dict(status=status, seconds=round(ended.seconds, 1), log=str(log))
    if ended.interrupted:
        result['interrupted'] = True
    if status == FAILED:
        result['message'] = f'exit status {ended.code}: {ended.last_line}'
    return result
