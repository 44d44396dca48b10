"""The main job on an embedded default: train on toy scenes, evaluate, and draw what came out."""

from pathlib import Path
from time import monotonic

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmseg.apis import init_model
from mmseg.models import BaseSegmentor
from mmseg.registry import DATASETS

from ..errors import UserError
from ..explain.focus import focus_of_queries, save_focus
from ..explain.overlay import save_predictions
from . import load_config, test, train
from .checks import check_data

_SCENES_DRAWN = 6


def run_demo(
    config: str,
    work_dir: str | None = None,
    checkpoint: str | None = None,
    data_root: str | None = None,
    iters: int | None = None,
) -> float:
    """Trains a config unless that is done already, evaluates it and draws pictures.

    An interrupted training is resumed, a finished one in the same folder is not repeated.

    Args:
        config: Path of a config, or one of ours by name (``mmseg_faseg::faseg_toy.py``).
        work_dir: Folder for weights, logs and pictures; ``work_dirs/demo/<config>`` if None.
        checkpoint: Weights to evaluate and draw; nothing is trained then.
        data_root: Where the toy scenes are or will be; as the config says if None.
        iters: Number of training iterations; as the config says if None.

    Returns:
        mIoU on the test set, 0 to 1.

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
    if 'visualizer' in cfg:
        cfg.visualizer.name = 'test'  # MMEngine keeps one of a name, and training's has its folder
    miou = test(cfg, checkpoint)['mIoU'] / 100
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        model = init_model(cfg, checkpoint, device=get_device())
        pictures = _draw(model, dataset, Path(cfg.work_dir))
    print(f'\n{Path(cfg.filename).stem}: mIoU {miou:.3f} on {len(dataset)} images')
    print(f'  data     {dataset.data_root}\n  weights  {checkpoint}')
    for picture in pictures:
        print(f'  picture  {picture}')
    print(f'  time     {monotonic() - start:.0f} s', flush=True)
    return miou


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


def _draw(model: BaseSegmentor, dataset: BaseDataset, folder: Path) -> list[Path]:
    """Writes the pictures and gives their paths."""
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    scenes = [_predict(model, dataset[index]) for index in range(min(_SCENES_DRAWN, len(dataset)))]
    pictures = [folder / 'predictions.png']
    save_predictions(pictures[0], scenes, classes, palette)
    if hasattr(model.decode_head, 'positional_query'):  # not in Mask2Former
        richest = dataset[_richest(dataset)]
        inputs = model.data_preprocessor(pseudo_collate([richest]))['inputs']
        pictures.append(folder / 'focus.png')
        save_focus(pictures[1], _rgb(richest), focus_of_queries(model, inputs), classes)
    return pictures


@torch.no_grad()
def _predict(model: BaseSegmentor, item: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, true and predicted label ids of one item of a data set."""
    (sample,) = model.test_step(pseudo_collate([item]))
    truth, prediction = sample.gt_sem_seg.data[0], sample.pred_sem_seg.data[0]
    return _rgb(item), truth.cpu().numpy(), prediction.cpu().numpy()


def _rgb(item: dict) -> np.ndarray:
    return item['inputs'].numpy()[::-1].transpose(1, 2, 0)


def _richest(dataset: BaseDataset) -> int:
    """The image in which most classes appear."""
    counts = [
        len(dataset[index]['data_samples'].gt_sem_seg.data.unique())
        for index in range(len(dataset))
    ]
    return int(np.argmax(counts))
