"""Steps: FASeg and its baseline trained under one schedule, and evaluated."""

import json
import math
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..apis import load_config
from .process import ENDING_SECONDS
from .settings import Settings
from .step import FAILED, FINISHED, UNFINISHED, Result, Step, run_tool

# Seconds that a training step takes besides training: starting, and evaluating what came out.
_START, _EVALUATION = 120, 120
# Minutes: less is no training.
_ROUNDING = 0.05


def training_steps(settings: Settings, steps: dict[str, Result]) -> list[Step]:
    """Steps of all seeds. The first one is begun in any case, others if they can be completed."""
    most = 60 * settings.train_minutes + _START + _EVALUATION
    # What each model gets of a call that has nothing else to do; nobody gets more.
    share = 0.9 * 60 * settings.limit / len(settings.subjects.training)
    built = []
    for seed in settings.seeds:
        for config in settings.subjects.training:
            name = step_name(config, seed)
            earlier = steps.get(name)
            least = _START + _EVALUATION + 30
            if seed != settings.seeds[0] and not earlier:
                least = max(least, min(most, share))
            run = partial(_run, settings, config, seed)
            more = bool(earlier) and not _is_done(settings, earlier)
            built.append(Step(name, 'training', least, most, run, f'training/seed{seed}', more))
    return built


def step_name(config: str, seed: int) -> str:
    """Name of the step that trains a config with a seed."""
    return f'training/{Path(config.partition("::")[2] or config).stem}-seed{seed}'


def training_config(settings: Settings, config: str, seed: int, minutes: float) -> Config:
    """A config that trains for some minutes at most and is evaluated only by itself, afterwards."""
    options = {} if settings.data_root is None else dict(data_root=settings.data_root)
    cfg = load_config(config, options)
    cfg.randomness = dict(seed=seed)
    hooks = list(cfg.get('custom_hooks') or [])
    cfg.custom_hooks = [*hooks, dict(type='TimeLimitHook', minutes=minutes)]
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    checkpoint = cfg.default_hooks.checkpoint
    checkpoint.pop('save_best', None)
    checkpoint.max_keep_ckpts = 2  # the last is not whole while it is written
    if settings.iterations is not None:
        for scheduler in cfg.param_scheduler:
            if scheduler.get('end') == cfg.train_cfg.max_iters:
                scheduler.end = settings.iterations
        cfg.train_cfg.max_iters = settings.iterations
    return cfg


def _run(
    settings: Settings, config: str, seed: int, seconds: float, steps: dict[str, Result]
) -> Result:
    """Trains for as long as there is time, and evaluates the last checkpoint."""
    name = step_name(config, seed)
    folder = settings.out / name
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier call evaluated stands until this one has evaluated more.
    result = dict(steps.get(name, {}), status=UNFINISHED)
    result.pop('message', None)
    _train(settings, config, seed, seconds - _EVALUATION, result)
    checkpoint = _last_checkpoint(folder)
    if checkpoint is not None:
        result['iteration'] = int(re.search(r'iter_(\d+)', checkpoint.stem)[1])
        if result['status'] != FAILED and 'interrupted' not in result:
            result |= _evaluate(settings, name, folder / 'config.py', checkpoint)
    if result['status'] != FAILED:
        result['status'] = FINISHED if _is_done(settings, result) else UNFINISHED
    return result


def _train(settings: Settings, config: str, seed: int, seconds: float, result: Result) -> None:
    """Goes on with training unless it is over, and adds to the result."""
    trained = result.get('minutes', 0)
    minutes = round(min(settings.train_minutes - trained, (seconds - _START) / 60), 2)
    if minutes < _ROUNDING or _is_at_its_end(result):
        return
    name = step_name(config, seed)
    cfg = training_config(settings, config, seed, minutes)
    folder = settings.out / name
    cfg.dump(str(folder / 'config.py'))
    arguments = ['tools/train.py', folder / 'config.py', '--work-dir', folder, '--resume']
    ended, of_tool = run_tool(settings, name, arguments, seconds)
    # What an early end cost is not counted: training then goes on from an earlier checkpoint.
    result |= of_tool | dict(
        of=cfg.train_cfg.max_iters, minutes=trained + (minutes if ended.code == 0 else 0)
    )


def _is_at_its_end(result: Result) -> bool:
    """Whether a model has been trained for all of its schedule."""
    return result.get('iteration', 0) >= result.get('of', math.inf)


def _is_done(settings: Settings, result: Result) -> bool:
    """Whether a model is trained for as long as asked for, and evaluated."""
    time_is_over = result.get('minutes', 0) > settings.train_minutes - _ROUNDING
    evaluated = 'mIoU' in result and result['evaluated'] == result['iteration']
    return evaluated and (time_is_over or _is_at_its_end(result))


def _last_checkpoint(folder: Path) -> Path | None:
    named = folder / 'last_checkpoint'
    if not named.exists():
        return None
    checkpoint = folder / Path(named.read_text().strip()).name
    return checkpoint if checkpoint.exists() else None


def _evaluate(settings: Settings, name: str, config: Path, checkpoint: Path) -> Result:
    """mIoU, and IoU by class, in percent; with status and message if the test failed."""
    folder = config.parent / 'test'
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ['tools/test.py', config, checkpoint, '--work-dir', folder]
    seconds = _EVALUATION - ENDING_SECONDS
    ended, result = run_tool(settings, f'{name}-test', arguments, seconds)
    if ended.interrupted:
        return dict(interrupted=True)
    if ended.code != 0:
        message = result.get('message', f'stopped after {seconds} s')
        return dict(status=FAILED, message=f'evaluation: {message}', log=result['log'])
    (metrics,) = folder.glob('*/*.json')
    log = (settings.out / result['log']).read_text()
    miou = json.loads(metrics.read_text())['mIoU']
    iteration = int(re.search(r'iter_(\d+)', checkpoint.stem)[1])
    return dict(mIoU=miou, classes=class_ious(log), evaluated=iteration)


def class_ious(log: str) -> dict[str, Any]:
    """IoU by class, in percent, from the table that MMSegmentation's IoUMetric logs."""
    rows = re.findall(r'^\|\s*(\S.*?)\s*\|\s*([\d.]+|nan)\s*\|', log, re.MULTILINE)
    return {name: None if value == 'nan' else float(value) for name, value in rows}
