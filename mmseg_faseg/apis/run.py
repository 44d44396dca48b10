"""Trains and tests a config with MMEngine's Runner. ``tools/`` parses arguments and calls this."""

import os
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints.latest import newest_whole_checkpoint
from ..checkpoints.read import check_checkpoint, refused_checkpoints
from ..engine import check_config, explained_dead_workers
from ..errors import UserError
from ..files import check_folder
from ..models import FASegSegmentor
from .checkpoint import find_checkpoint
from .checks import check_data, check_pretrained, pretrained_weights
from .config import datasets_of
from .devices import check_launcher, leave_process_group, prepare_devices
from .gpu_memory import explained_out_of_memory
from .model import build_model

# What no run goes without, whatever its config lists.
_HOOKS = ('RunLockHook', 'CheckpointCheckHook', 'StopSignalHook', 'ExactResumeHook')


def train(
    cfg: Config, *, resume: bool | str = False, amp: bool = False, launcher: str = 'none'
) -> None:
    """Trains, after checking that everything it needs is there.

    Args:
        cfg: Config with ``work_dir`` set.
        resume: Go on from the newest whole checkpoint in ``work_dir``, or from the one of this
            name, or the newest in the work dir of this name. Without a checkpoint in ``work_dir``
            training starts from the beginning.
        amp: Mixed precision; without a GPU autocast in bfloat16.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        UserError: The first thing that is missing or does not fit, before anything is written; or
            the GPU has too little memory.
    """
    cfg.launcher = launcher
    check_launcher(launcher)
    check_folder(cfg.work_dir, 'work_dir')
    check_config(cfg)
    if amp:
        _enable_amp(cfg)
    going_on = _newest(cfg.work_dir) if resume is True else resume
    if isinstance(going_on, str) and os.path.isdir(going_on):
        going_on = _newest(going_on) or find_checkpoint(going_on)
    start = going_on or cfg.get('load_from')
    if start:
        start = find_checkpoint(start)
        check_checkpoint(start)
    cfg.load_from, cfg.resume = start, bool(going_on)
    _check_model(cfg)
    loops = [name for name in ('train', 'val') if cfg.get(f'{name}_cfg')]
    check_data(cfg, [f'{loop}_dataloader' for loop in loops])
    if not start:
        check_pretrained(cfg)
    runner = _build_runner(cfg)
    if start:
        _forget_pretrained(runner)
    with (
        refused_checkpoints(start),
        explained_out_of_memory(runner),
        explained_dead_workers(runner),
    ):
        runner.train()
    del runner
    leave_process_group()


def test(
    cfg: Config,
    checkpoint: str,
    *,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2,
    tta: bool = False,
    launcher: str = 'none',
) -> dict[str, float]:
    """Tests a checkpoint on the test set.

    Args:
        cfg: Config with ``work_dir`` set.
        checkpoint: File or address of the weights, or the work dir of a run.
        out: Folder for the predicted label maps, as PNG.
        show: Show predictions in a window.
        show_dir: Folder below which every prediction is painted.
        wait_time: Seconds to show each prediction.
        tta: Test-time augmentation with the config's ``tta_model`` and ``tta_pipeline``.
        launcher: As in :func:`train`.

    Returns:
        Metrics by name, such as ``{'mIoU': 48.3}`` in percent; none where no image has labels and
        predictions are only written.

    Raises:
        UserError: The first thing that is missing or does not fit, before anything is written.
    """
    cfg.launcher = launcher
    checkpoint = find_checkpoint(checkpoint)
    cfg.load_from = checkpoint
    cfg.resume = False
    check_launcher(launcher)
    check_folder(cfg.work_dir, 'work_dir')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key, None)  # MMSegmentation's visualization hook would build the training data
    check_checkpoint(checkpoint)
    check_config(cfg)
    _check_model(cfg)
    if show or show_dir:
        _enable_visualization(cfg, show, show_dir, wait_time)
    if tta:
        _enable_tta(cfg)
    if show_dir:
        check_folder(show_dir, '--show-dir')
    if out:
        if Path(out).exists() and not Path(out).is_dir():
            raise UserError(f'--out takes a folder for label maps, got the file {out}')
        check_folder(out, '--out')
        evaluators = cfg.test_evaluator
        for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
            evaluator.update(output_dir=out, keep_results=True)
    check_data(cfg, ['test_dataloader'])
    runner = _build_runner(cfg)
    with refused_checkpoints(checkpoint), explained_dead_workers(runner):
        metrics = runner.test()
    leave_process_group()
    return metrics


def _check_model(cfg: Config) -> None:
    """Builds the model once, so that what is wrong with it is said before data is looked at."""
    if isinstance(cfg.get('model'), dict) and 'backbone' in cfg.model:
        build_model(cfg)


def _newest(work_dir: str) -> str | None:
    """The newest whole checkpoint of a run; those passed over are named."""
    path, passed_over = newest_whole_checkpoint(work_dir)
    if int(os.environ.get('LOCAL_RANK', 0)) == 0:
        for reason in passed_over:
            print(f'passed over: {reason}', flush=True)
    return None if path is None else str(path)


def _build_runner(cfg: Config) -> Runner:
    prepare_devices(cfg)
    hooks = list(cfg.get('custom_hooks') or [])
    there = {hook.get('type') for hook in hooks}
    cfg.custom_hooks = [*hooks, *(dict(type=name) for name in _HOOKS if name not in there)]
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _enable_amp(cfg: Config) -> None:
    wrapper = cfg.optim_wrapper
    if wrapper.type not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(
            f'--amp needs optim_wrapper.type OptimWrapper or AmpOptimWrapper, got {wrapper.type}'
        )
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def _enable_visualization(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    hook = cfg.get('default_hooks', {}).get('visualization')
    if not hook or 'visualizer' not in cfg:
        raise UserError(
            '--show and --show-dir need a visualizer and '
            "default_hooks.visualization=dict(type='SegVisualizationHook') in the config"
        )
    hook.update(draw=True, interval=1)
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def _enable_tta(cfg: Config) -> None:
    for key in ('tta_model', 'tta_pipeline'):
        if key not in cfg:
            raise UserError(f'--tta needs {key} in the config')
    for dataset in datasets_of(cfg.test_dataloader):
        dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def _forget_pretrained(runner: Runner) -> None:
    """A checkpoint will replace all weights: those to start from need not be fetched."""
    for module in runner.model.modules():
        if any(pretrained_weights(getattr(module, 'init_cfg', None), '')):
            module.init_cfg = None
        if isinstance(module, FASegSegmentor):
            module.mask2former = None
