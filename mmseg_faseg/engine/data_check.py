"""Finds what is wrong with a data set before training time is spent on it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import dist, fileio
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image, UnidentifiedImageError
from torch import nn

from ..errors import UserError

_SHOWN = 10  # problems named in an error; the rest is counted


class DataMismatchError(UserError):
    """A data set does not fit the model, or its files do not fit each other."""


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Reads every annotation once before a run starts, and stops with one clear error.

    Looked for: fewer or more classes in the model than in the data set; images without an
    annotation; annotations of another size than their image, or with several channels; label ids
    that are no class of the model. Label maps are read by the data set's own ``LoadAnnotations``,
    so ``reduce_zero_label`` and chosen classes are honoured. Data sets whose pipeline loads no
    annotations are left alone. In a distributed run each process checks its share, and all of
    them stop.

    Args:
        max_files: Check this many images of each data set, evenly spread; None for all.
        num_threads: Files read at a time.

    Raises:
        ValueError: An argument is out of range.
        DataMismatchError: When a run starts: names the files and what is wrong with them.
    """

    def __init__(self, max_files: int | None = None, num_threads: int = 8) -> None:
        if max_files is not None and max_files < 1:
            raise ValueError(f'max_files must be None or at least 1, got {max_files}')
        if num_threads < 1:
            raise ValueError(f'num_threads must be at least 1, got {num_threads}')
        self.max_files = max_files
        self.num_threads = num_threads
        self._checked: set[int] = set()

    def before_run(self, runner: Runner) -> None:
        """Checks the data of the loops that are built by now: train and val, or val, or test."""
        head = _decode_head(runner.model)
        if head is None:
            return
        # `train_loop` and its like would build what this run does not use.
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if not hasattr(loop, 'dataloader'):
                continue
            for dataset in _leaves(loop.dataloader.dataset):
                if id(dataset) not in self._checked:
                    check_classes(dataset, head.num_classes, head.ignore_index)
                    self._check_files(dataset, head.num_classes, head.ignore_index)
                    self._checked.add(id(dataset))

    def _check_files(self, dataset: BaseDataset, num_classes: int, ignore_index: int) -> None:
        load = _find_transform(dataset, LoadAnnotations)
        if load is None:
            return
        count = len(dataset) if self.max_files is None else min(self.max_files, len(dataset))
        indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
        share = indices[dist.get_rank() :: dist.get_world_size()]
        name = type(dataset).__name__
        print_log(f'Checking {count} of {len(dataset)} annotations of {name} ...', 'current')

        def check(index: int) -> str | None:
            return find_problem(dataset.get_data_info(index), load, num_classes, ignore_index)

        with ThreadPoolExecutor(self.num_threads) as pool:
            found = [problem for problem in pool.map(check, share) if problem is not None]
        problems = [problem for part in dist.all_gather_object(found) for problem in part]
        if problems:
            raise DataMismatchError(
                _summary(problems, f'{name} (checked {count} of {len(dataset)} images)')
            )


def check_data_roots(*dataset_cfgs: dict) -> None:
    """Lists the files of data sets, and says which folder is missing or empty.

    The Runner does the same without the explanation, so call this before building it.

    Args:
        dataset_cfgs: Configs of data sets, such as ``cfg.train_dataloader.dataset``.

    Raises:
        FileNotFoundError: A folder or a list of files is not there, or has no images.
    """
    for cfg in dataset_cfgs:
        for leaf in _leaf_cfgs(cfg):
            dataset = DATASETS.build({**leaf, 'lazy_init': True})
            try:
                files = dataset.load_data_list()
            except (OSError, AssertionError) as error:  # MMSeg asserts that `ann_file` exists
                raise FileNotFoundError(_explain_root(dataset, 'missing')) from error
            if not files:
                raise FileNotFoundError(_explain_root(dataset, 'empty'))


def check_classes(dataset: BaseDataset, num_classes: int, ignore_index: int) -> None:
    """Compares a data set's classes with the model's.

    Raises:
        DataMismatchError: Their numbers differ, or the ignored label is one of the model's classes.
    """
    classes = dataset.metainfo.get('classes')
    if classes is not None and len(classes) != num_classes:
        raise DataMismatchError(
            f'{type(dataset).__name__} has {len(classes)} classes, but '
            f'model.decode_head.num_classes is {num_classes}. Set '
            f'model.decode_head.num_classes={len(classes)} in the config (and nothing else).'
        )
    if 0 <= ignore_index < num_classes:
        raise DataMismatchError(
            f'model.decode_head.ignore_index is {ignore_index}, which is one of its '
            f'{num_classes} classes: choose a label that is none, such as {num_classes} or more.'
        )


def find_problem(
    info: dict, load: LoadAnnotations, num_classes: int, ignore_index: int
) -> str | None:
    """What is wrong with one image and its annotation, if anything.

    Args:
        info: The data set's entry, with ``img_path`` and ``seg_map_path``.
        load: The transform that reads the annotation.
        num_classes: Label ids may be 0 to ``num_classes - 1``,
        ignore_index: or this.
    """
    image_path: str = info['img_path']
    annotation_path: Any = info.get('seg_map_path')
    for path, what in ((image_path, 'image'), (annotation_path, f'annotation of {image_path}')):
        if path is None or not fileio.exists(path, backend_args=load.backend_args):
            return f'{path}: no such file ({what})'
    try:
        labels = load({**info, 'seg_fields': []})['gt_seg_map']
    except Exception as error:  # whatever a decoder raises, the file is what matters
        return f'{annotation_path}: cannot be read ({type(error).__name__}: {error})'
    if labels.ndim != 2:
        return (
            f'{annotation_path}: has shape {labels.shape}; one label id per pixel is needed, '
            'not colours'
        )
    try:
        height, width = _image_size(image_path, load.backend_args)
    except Exception as error:
        return f'{image_path}: cannot be read ({type(error).__name__}: {error})'
    if labels.shape != (height, width):
        return (
            f'{image_path} is {width} x {height} (width x height), but {annotation_path} is '
            f'{labels.shape[1]} x {labels.shape[0]}'
        )
    too_large = _lost_ids(annotation_path, labels, load.backend_args)
    if too_large:
        return (
            f'{annotation_path}: label ids {too_large} do not fit the 8 bits that '
            f'{type(load).__name__} keeps'
        )
    outside = labels[((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)]
    if outside.size:
        return (
            f'{annotation_path}: label ids {np.unique(outside).tolist()} are no class; the model '
            f'has {num_classes} classes (ids 0 to {num_classes - 1}) and ignores {ignore_index}'
        )
    return None


def _image_size(path: str, backend_args: dict | None) -> tuple[int, int]:
    """Height and width as loaded, from the file's header where PIL knows the format."""
    try:
        with Image.open(_source(path, backend_args)) as image:
            width, height = image.size
            lies_on_its_side = image.getexif().get(0x0112, 1) >= 5  # loading turns it upright
    except UnidentifiedImageError:
        load = LoadImageFromFile(backend_args=backend_args)
        height, width = load(dict(img_path=path))['img'].shape[:2]
        return height, width
    return (width, height) if lies_on_its_side else (height, width)


def _lost_ids(path: str, labels: np.ndarray, backend_args: dict | None) -> list[int]:
    """Ids of a 16 or 32 bit file that wrapped around when it was loaded into 8 bits."""
    if labels.dtype != np.uint8:
        return []
    try:
        with Image.open(_source(path, backend_args)) as image:
            ids = np.asarray(image) if image.mode.startswith(('I', 'F')) else labels
    except UnidentifiedImageError:  # read by another decoder
        return []
    return np.unique(ids[(ids < 0) | (ids > 255)]).tolist()


def _source(path: str, backend_args: dict | None) -> str | BytesIO:
    return path if backend_args is None else BytesIO(fileio.get(path, backend_args=backend_args))


def _decode_head(model: Any) -> Any:
    """The head that decides on the classes, below DDP or test-time augmentation; else None."""
    while not hasattr(model, 'decode_head') and hasattr(model, 'module'):
        model = model.module
    head = getattr(model, 'decode_head', None)
    return head[-1] if isinstance(head, nn.ModuleList) else head


def _leaves(dataset) -> Iterator[BaseDataset]:
    """The data sets below MMEngine's and MMSeg's wrappers."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _leaves(part)
    elif hasattr(dataset, 'dataset'):
        yield from _leaves(dataset.dataset)
    elif isinstance(dataset, BaseDataset):
        yield dataset


def _leaf_cfgs(cfg: dict) -> Iterator[dict]:
    """As :func:`_leaves`, for configs."""
    if 'datasets' in cfg:
        for part in cfg['datasets']:
            yield from _leaf_cfgs(part)
    elif 'dataset' in cfg:
        yield from _leaf_cfgs(cfg['dataset'])
    else:
        yield cfg


def _find_transform(dataset: BaseDataset, kind: type):
    transforms = dataset.pipeline.transforms
    return next((transform for transform in transforms if isinstance(transform, kind)), None)


def _summary(problems: list[str], where: str) -> str:
    lines = [f'{len(problems)} files of {where} do not fit:']
    lines += [f'  {problem}' for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f'  ... and {len(problems) - _SHOWN} more')
    return '\n'.join(lines)


def _explain_root(dataset: BaseDataset, state: str) -> str:
    wanted = f'files *{getattr(dataset, "img_suffix", "")}'
    if dataset.ann_file:
        wanted += f' listed in {dataset.ann_file!r}'
    return (
        f'{type(dataset).__name__} found no images: {state} folder '
        f'{dataset.data_prefix.get("img_path")!r}, which should hold {wanted}. '
        f'Put the data there or pass another data_root (now {dataset.data_root!r}).'
    )
