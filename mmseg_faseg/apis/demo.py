"""The main job on an embedded default: train on toy scenes, evaluate, and draw what came out."""

import sys
from pathlib import Path
from time import monotonic

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS
from torch import nn

from ..errors import UserError
from . import load_config, test, train
from .checkpoint import find_checkpoint
from .checks import check_data
from .demo_tasks import PanopticTask, Score, SemanticTask
from .model import build_model


def run_demo(
    config: str,
    work_dir: str | None = None,
    checkpoint: str | None = None,
    data_root: str | None = None,
    iters: int | None = None,
) -> Score:
    """Trains a config unless that is done already, evaluates it and draws pictures.

    An interrupted training is resumed, a finished one in the same folder is not repeated.

    Args:
        config: Path of a config, or one of ours by name (``mmseg_faseg::faseg_toy.py``), of
            semantic or, with MMDetection's default scope, of panoptic segmentation.
        work_dir: Folder for weights, logs and pictures; ``work_dirs/demo/<config>`` if None.
        checkpoint: Weights to evaluate and draw, a file or the work dir of a run; nothing is
            trained then.
        data_root: Where the toy scenes are or will be; as the config says if None.
        iters: Number of training iterations; as the config says if None.

    Returns:
        mIoU on the test set, or PQ.

    Raises:
        UserError: ``iters`` is less than 1, or something that training or testing needs is missing.
    """
    start = monotonic()
    if iters is not None and iters < 1:
        raise UserError(f'--iters must be at least 1, got {iters}')
    cfg = load_config(config, {} if data_root is None else {'data_root': data_root})
    cfg.work_dir = work_dir or str(Path('work_dirs/demo', Path(cfg.filename).stem))
    if iters is not None:
        cfg.train_cfg.max_iters = iters
    if checkpoint is None:
        check_data(cfg, ['test_dataloader'])  # before the minutes of training
        checkpoint = _trained(cfg)
    checkpoint = find_checkpoint(checkpoint)
    if 'visualizer' in cfg:
        cfg.visualizer.name = 'test'  # MMEngine keeps one of a name, and training's has its folder
    task = PanopticTask() if cfg.get('default_scope') == 'mmdet' else SemanticTask()
    metrics = test(cfg, checkpoint)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        pictures = task.draw(_loaded(cfg, checkpoint), dataset, Path(cfg.work_dir))
    print(f'\n{Path(cfg.filename).stem}: {task.summary(metrics)} on {len(dataset)} images')
    print(f'  data     {dataset.data_root}\n  weights  {checkpoint}')
    for picture in pictures:
        print(f'  picture  {picture}')
    print(f'  time     {monotonic() - start:.0f} s')
    for step in task.next_steps:
        print(f'  next     {step}')
    sys.stdout.flush()
    return task.score(metrics)


def _trained(cfg: Config) -> str:
    """The checkpoint at the end of the schedule, training if it is not there."""
    checkpoint = Path(cfg.work_dir, f'iter_{cfg.train_cfg.max_iters}.pth')
    if checkpoint.exists():
        print(f'Training is done already: {checkpoint} (delete it to train anew)', flush=True)
    else:
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg.pop(key, None)  # the test comes next
        train(cfg, resume=True)
    return str(checkpoint)


def _loaded(cfg: Config, checkpoint: str) -> nn.Module:
    """The model with its weights, ready to predict."""
    model = build_model(cfg)
    load_checkpoint(model, checkpoint, map_location='cpu')
    return model.to(get_device()).eval()
