"""Finds folders and lists of files that are missing, empty or of another form than they should be.

Before anything is built: what a data set, a runner or a metric says of them is a traceback.
"""

import os
from collections.abc import Iterator

from mmdet.datasets import CocoDataset
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from .checks.coco_form import form_problem
from .checks.datasets import names_problem
from .data_check import DataMismatchError


def check_data_roots(*dataset_cfgs: dict) -> None:
    """Lists the files of data sets, and says which folder is missing or empty.

    The Runner does the same without the explanation, so call this before building it.

    Args:
        dataset_cfgs: Configs of data sets, such as ``cfg.train_dataloader.dataset``.

    Raises:
        FileNotFoundError: A folder or a list of files is not there, or has no images.
        DataMismatchError: The data set refuses its classes or other arguments, or its annotation
            file.
    """
    for cfg in dataset_cfgs:
        for leaf in _leaf_cfgs(cfg):
            dataset = _build_lazily(leaf)
            if isinstance(dataset, CocoDataset):
                _check_coco(dataset)
            else:
                _check_folders(dataset)


def _build_lazily(cfg: dict) -> BaseDataset:
    name = str(cfg.get('type'))
    classes = (cfg.get('metainfo') or {}).get('classes')
    if isinstance(classes, str) and not os.path.isfile(classes):  # MMEngine reads a file of names
        raise DataMismatchError(*names_problem(classes, name))
    try:
        return DATASETS.build({**cfg, 'lazy_init': True})
    except (ValueError, AssertionError, TypeError) as error:
        raise DataMismatchError(f'data set {name}: {error}') from error


def _check_folders(dataset: BaseDataset) -> None:
    try:
        files = dataset.load_data_list()
    except (OSError, AssertionError) as error:  # MMSeg asserts that `ann_file` exists
        raise FileNotFoundError(_explain_root(dataset, 'missing')) from error
    if not files:
        raise FileNotFoundError(_explain_root(dataset, 'empty'))


def _check_coco(dataset: CocoDataset) -> None:
    name, advice = type(dataset).__name__, f'pass another data_root (now {dataset.data_root!r}).'
    file, backend_args = dataset.ann_file, dataset.backend_args
    try:
        dataset.data_list = dataset.load_data_list()
    except Exception as error:  # MMDetection looks up what it needs, and whatever fails then
        if fileio.isfile(file, backend_args=backend_args):
            raise DataMismatchError(f'{file}: {form_problem(dataset, error)}') from error
        missing = f'{name}: there is no annotation file {file!r}.'
        raise FileNotFoundError(f'{missing} Put it there or {advice}') from error
    for key, what in (('img', 'images'), ('seg', 'panoptic PNG files')):
        folder = dataset.data_prefix.get(key)
        if folder and not fileio.isdir(folder, backend_args=backend_args):
            missing = f'{name}: there is no folder {folder!r}, which should hold {what}.'
            raise FileNotFoundError(f'{missing} Put it there or {advice}')
    if not dataset.filter_data():
        count = len(dataset.data_list)
        filtered = f'filter_cfg={dict(dataset.filter_cfg or {})} leaves out all {count}'
        why = filtered if count else 'lists none'
        raise DataMismatchError(f'{name} has no images: {dataset.ann_file} {why}')


def _leaf_cfgs(cfg: dict) -> Iterator[dict]:
    """The configs of data sets below those of MMEngine's and MMSeg's wrappers."""
    if 'datasets' in cfg:
        for part in cfg['datasets']:
            yield from _leaf_cfgs(part)
    elif 'dataset' in cfg:
        yield from _leaf_cfgs(cfg['dataset'])
    else:
        yield cfg


def _explain_root(dataset: BaseDataset, state: str) -> str:
    wanted = f'files *{getattr(dataset, "img_suffix", "")}'
    if dataset.ann_file:
        wanted += f' listed in {dataset.ann_file!r}'
    return (
        f'{type(dataset).__name__} found no images: {state} folder '
        f'{dataset.data_prefix.get("img_path")!r}, which should hold {wanted}. '
        f'Put the data there or pass another data_root (now {dataset.data_root!r}).'
    )
