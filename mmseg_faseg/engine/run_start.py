"""The beginning of a run's log: what runs, and that it runs."""

from typing import Any

import torch
from mmengine import dist
from mmengine.device import get_device
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader


@HOOKS.register_module()
class RunStartHook(Hook):
    """Logs what a run will do before it does anything, and its first iterations.

    ``LoggerHook`` logs every 50th iteration or so, which may be minutes away.

    Args:
        iterations: The iterations of this call, from 1, after which a line is logged.
    """

    def __init__(self, iterations: tuple[int, ...] = (1, 5, 20)) -> None:
        self.iterations = iterations
        self._done = 0

    def before_run(self, runner: Runner) -> None:
        """Logs the overview."""
        runner.logger.info(overview(runner))

    def before_train(self, runner: Runner) -> None:
        """Begins to count."""
        self._done = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Logs the first iterations, unless ``LoggerHook`` does."""
        self._done += 1
        if self._done in self.iterations and not self._is_logged(runner, batch_idx):
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
            runner.logger.info(line)

    def _is_logged(self, runner: Runner, batch_idx: int) -> bool:
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        regular = any(self.every_n_inner_iters(batch_idx, hook.interval) for hook in loggers)
        return regular or self.end_of_epoch(runner.train_dataloader, batch_idx)


def overview(runner: Runner) -> str:
    """What a run is made of, row by row: config, model, data, devices, and where it writes."""
    testing = isinstance(runner._test_loop, BaseLoop)  # perhaps after training with this runner
    training = isinstance(runner._train_loop, BaseLoop) and not testing
    rows = {'config': runner.cfg.filename, 'model': _model(runner.model)}
    if training:
        rows['data'] = f'{_data(runner.train_dataloader)}, {_batch(runner.train_dataloader)}'
        rows['length'] = _length(runner)
    if isinstance(runner._val_loop, BaseLoop) and not testing:
        rows['validation'] = _data(runner.val_dataloader) + _interval(runner)
    if testing:
        rows['data'] = _data(runner.test_dataloader)
    rows['device'] = _device(runner)
    if runner._load_from:
        rows['resumes' if runner._resume else 'weights'] = runner._load_from
    elif runner._resume:
        rows['resumes'] = f'the latest checkpoint in {runner.work_dir}'
    rows['seed'] = runner.seed
    rows['writes to'] = runner.work_dir
    rows['log'] = f'{runner.logger.log_file}, with all settings and the environment'
    lines = [f'  {name:<12}{value}' for name, value in rows.items()]
    return '\n'.join(['Training' if training else 'Testing', *lines])


def _model(model: Any) -> str:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    roles = ('backbone', 'decode_head', 'panoptic_head', 'bbox_head')
    parts = [getattr(model, role, None) for role in roles]
    names = ', '.join(type(part).__name__ for part in parts if part is not None)
    millions = sum(param.numel() for param in model.parameters()) / 1e6
    classes = f', {model.num_classes} classes' if hasattr(model, 'num_classes') else ''
    return f'{type(model).__name__} ({names}){classes}, {millions:.1f} M parameters'


def _data(loader: DataLoader) -> str:
    dataset: Any = loader.dataset
    root = getattr(dataset, 'data_root', None)
    return f'{len(dataset)} images of {type(dataset).__name__}' + (f' in {root}' if root else '')


def _batch(loader: DataLoader) -> str:
    images = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
    processes = dist.get_world_size()
    return f'{processes} x {images} per iteration' if processes > 1 else f'{images} per iteration'


def _length(runner: Runner) -> str:
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        return f'{loop.max_epochs} epochs of {len(loop.dataloader)} iterations'
    return f'{loop.max_iters} iterations'


def _interval(runner: Runner) -> str:
    loop = runner._train_loop
    if not hasattr(loop, 'val_interval'):
        return ''
    unit = 'epochs' if isinstance(loop, EpochBasedTrainLoop) else 'iterations'
    return f', every {loop.val_interval} {unit}'


def _device(runner: Runner) -> str:
    kind, processes = get_device(), dist.get_world_size()
    name = torch.cuda.get_device_name() if kind == 'cuda' else kind.upper()
    if processes > 1:
        name = f'{processes} x {name}'
    if kind == 'cpu':
        name += f', threads: {torch.get_num_threads()}'
    return name + ', mixed precision' * isinstance(runner.optim_wrapper, AmpOptimWrapper)
