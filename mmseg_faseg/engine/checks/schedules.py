"""What happens when: schedules, validation, and the checkpoint that it calls the best.

Checks as those of ``settings.py``.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmseg.evaluation import IoUMetric

from ...evaluation import BoundaryIoUMetric, SizeIoUMetric
from .settings import Check, metrics_of

# What IoUMetric returns beside accuracies, by what it is asked for.
_IOU_METRICS = {
    'mIoU': ('aAcc', 'mIoU', 'mAcc'),
    'mDice': ('aAcc', 'mDice', 'mAcc'),
    'mFscore': ('aAcc', 'mFscore', 'mPrecision', 'mRecall'),
}
_IOU_TYPES = (IoUMetric, BoundaryIoUMetric, SizeIoUMetric)
_TO_THE_END = ('Poly', 'CosineAnnealing', 'OneCycle')  # schedules that lead to the last iteration


def monitored_metric(runner: Runner) -> Iterator[str]:
    """The metric that decides on the best checkpoint is one that validation returns."""
    if not isinstance(runner._train_loop, BaseLoop):
        return
    metrics = metrics_of(runner._val_loop) if isinstance(runner._val_loop, BaseLoop) else []
    known = [key for metric in metrics for key in _keys(metric)]
    for hook in runner.hooks:
        wanted: list[str] = []
        if isinstance(hook, CheckpointHook) and hook.save_best:
            wanted = [key for key in hook.key_indicators if key != 'auto']
        elif isinstance(hook, EarlyStoppingHook):
            wanted = [hook.monitor]
        setting = 'save_best' if isinstance(hook, CheckpointHook) else 'monitor'
        if wanted and not metrics:
            yield f'{type(hook).__name__}: {setting}={wanted[0]!r}, but nothing is validated'
        missing = [key for key in wanted if key not in known]
        if metrics and missing and all(type(metric) in _IOU_TYPES for metric in metrics):
            yield (
                f'{type(hook).__name__}: {setting}={missing[0]!r}, but validation returns '
                f'{", ".join(known)}'
            )


def schedule_unit(runner: Runner) -> Iterator[str]:
    """Schedules count what the loop counts."""
    if not isinstance(runner._train_loop, IterBasedTrainLoop):
        return
    for scheduler in _schedulers(runner):
        if scheduler.by_epoch:
            yield (
                f'{type(scheduler).__name__} counts epochs and training counts iterations, so it '
                'never steps: set by_epoch=False in param_scheduler'
            )
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.by_epoch:
            yield (
                'CheckpointHook counts epochs and training counts iterations, so nothing is saved '
                'before the end: set default_hooks.checkpoint.by_epoch=False'
            )


def schedule_length(runner: Runner) -> Iterator[str]:
    """Schedules end when training does."""
    loop = runner._train_loop
    if not isinstance(loop, BaseLoop):
        return
    epochs = isinstance(loop, EpochBasedTrainLoop)
    schedulers = [one for one in _schedulers(runner) if one.by_epoch <= epochs]
    for scheduler in schedulers:
        unit = 'epochs' if scheduler.by_epoch else 'iterations'
        length = loop.max_epochs if scheduler.by_epoch else loop.max_iters
        name = type(scheduler).__name__
        late = [step for step in getattr(scheduler, 'milestones', ()) if step >= length]
        if scheduler.begin >= length:
            yield f'{name} begins at {scheduler.begin}, but training has {length} {unit}'
        elif late:
            yield f'{name}: milestone {min(late)} is not reached, training has {length} {unit}'
        elif name.startswith(_TO_THE_END) and (end := _end(scheduler)) != length:
            is_last = all(_end(other) <= end for other in schedulers)
            if is_last or end > length:
                yield f'{name} ends at {end}, but training has {length} {unit}'


def validation_interval(runner: Runner) -> Iterator[str]:
    """Validation takes place."""
    loop = runner._train_loop
    if not isinstance(loop, BaseLoop) or not isinstance(runner._val_loop, BaseLoop):
        return
    epochs = isinstance(loop, EpochBasedTrainLoop)
    length, unit = (loop.max_epochs, 'epochs') if epochs else (loop.max_iters, 'iterations')
    first = max(loop.val_interval, loop.val_begin)
    if first > length:
        yield f'the first validation would be after {first} {unit}, but training has {length}'


def _keys(metric: BaseMetric) -> list[str]:
    names: Sequence[str] = getattr(metric, 'metrics', ())
    keys = [key for name in names for key in _IOU_METRICS.get(name, ())]
    if isinstance(metric, SizeIoUMetric):
        keys = [f'{size}/{key}' for size in metric.areas for key in keys]
    return [f'{metric.prefix}/{key}' if metric.prefix else key for key in dict.fromkeys(keys)]


def _schedulers(runner: Runner) -> list[Any]:
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        return [one for several in schedulers.values() for one in several]
    return [one for one in schedulers if hasattr(one, 'by_epoch')]


def _end(scheduler: Any) -> int:
    """The step at which a schedule has got where it leads, whenever it is stopped."""
    steps = getattr(scheduler, 'T_max', None) or getattr(scheduler, 'total_steps', None)
    return scheduler.begin + steps if steps else scheduler.end


REFUSED: tuple[Check, ...] = (monitored_metric,)
WARNED: tuple[Check, ...] = (schedule_unit, schedule_length, validation_interval)
