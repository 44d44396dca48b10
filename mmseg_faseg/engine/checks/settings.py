"""Settings of model and data that cannot work together, and plausible mistakes.

Each check is a generator of what it finds and has the check's name. It looks at what the runner has
built, so it does not matter how the config was written.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mmcv.transforms import TestTimeAug
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from ...models.semantic.segmentor import check_windows
from .pairs import channels_of

_IGNORED = ('ignore_index', 'seg_pad_val', 'seg_fill_in', 'ignore_label')  # as parts call it


def segmentor(runner: Runner) -> Any:
    """The model below DDP and test-time augmentation."""
    model: Any = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def ignore_index(runner: Runner) -> Iterator[str]:
    """The label that is ignored stands in several places, which have to agree."""
    model = segmentor(runner)
    heads = _heads(model)
    name, deciding = next(iter(heads.items()), ('', None))
    ignored = getattr(deciding, 'ignore_index', None)
    if ignored is None:  # it decides on no classes
        return
    parts = dict(heads)
    for key, head in heads.items():
        parts |= {f'{key}.{part}': loss for part, loss in _losses(head).items()}
    places = [(f'{key}.{what}', v) for key, part in parts.items() for what, v in _ignored(part)]
    if getattr(model.data_preprocessor, 'size', None) or _divides(model):
        places.append(('data_preprocessor.seg_pad_val', model.data_preprocessor.seg_pad_val))
    for key, loop in _loops(runner).items():
        metrics = metrics_of(loop)
        for index, metric in enumerate(metrics):
            if hasattr(metric, 'ignore_index'):
                number = f'[{index}]' if len(metrics) > 1 else ''
                places.append((f'{key}_evaluator{number}.ignore_index', metric.ignore_index))
        for transform in _transforms(loop):
            for what, value in _ignored(transform):
                places.append((f'{type(transform).__name__}.{what} ({key})', value))
    others = dict.fromkeys(f'{place} is {v}' for place, v in places if v != ignored)
    if others:
        yield (
            f'{name}.ignore_index is {ignored}, but {", ".join(others)}: set all of them '
            'to one label'
        )


def num_classes_of_heads(runner: Runner) -> Iterator[str]:
    """Auxiliary heads that learn the class of each pixel have those of the head that decides."""
    deciding, *others = _heads(segmentor(runner)).items() or [('', None)]
    heads = [deciding, *((name, head) for name, head in others if _learns_pixels(head))]
    counts = {name: getattr(head, 'num_classes', None) for name, head in heads}
    if len(set(counts.values())) > 1:
        found = ', '.join(f'{name}.num_classes={count}' for name, count in counts.items())
        yield f'heads of one model have different numbers of classes: {found}'


def class_weight(runner: Runner) -> Iterator[str]:
    """There is one class weight for each class; Mask2Former has one more, for 'no object'."""
    for name, head in _heads(segmentor(runner)).items():
        if hasattr(head, 'loss_mask'):
            losses, wanted = {'loss_cls': head.loss_cls}, head.num_classes + 1
            needs = f'num_classes + 1 = {wanted}: one for each class and one for none'
        elif _learns_pixels(head):
            losses, wanted = _losses(head), head.out_channels
            needs = f'{wanted}: one for each class'
        else:
            continue
        for part, loss in losses.items():
            weights = getattr(loss, 'class_weight', None)
            if isinstance(weights, list | tuple | np.ndarray) and len(weights) != wanted:
                yield f'{name}.{part}.class_weight has {len(weights)} values, needs {needs}'


def fusion_head(runner: Runner) -> Iterator[str]:
    """The fusion head of MMDetection's Mask2Former has the classes of its mask head."""
    model = segmentor(runner)
    head, fusion = (
        getattr(model, name, None) for name in ('panoptic_head', 'panoptic_fusion_head')
    )
    if head is None or fusion is None:
        return
    for name in ('num_things_classes', 'num_stuff_classes'):
        expected, got = getattr(head, name, None), getattr(fusion, name, None)
        if expected != got:
            where = f'model.panoptic_fusion_head.{name} is {got}'
            yield f'{where}, but that of panoptic_head is {expected}'


def windows(runner: Runner) -> Iterator[str]:
    """Sliding windows cover the image."""
    try:
        check_windows(getattr(segmentor(runner), 'test_cfg', None))
    except ValueError as error:
        yield f'model.{error}'


def image_statistics(runner: Runner) -> Iterator[str]:
    """Mean and standard deviation have a value for each channel that the backbone takes."""
    model = segmentor(runner)
    channels, preprocessor = channels_of(model), model.data_preprocessor
    for name in ('mean', 'std'):
        values = getattr(preprocessor, name, None)
        if values is not None and channels and values.numel() not in (1, channels):
            yield (
                f'data_preprocessor.{name} has {values.numel()} values, but the backbone takes '
                f'{channels} channels: give one for each'
            )


def batch_shape(runner: Runner) -> Iterator[str]:
    """Training stacks images, so the pre-processor has to know to what size it pads."""
    preprocessor = segmentor(runner).data_preprocessor
    sizes = [getattr(preprocessor, name, None) for name in ('size', 'size_divisor')]
    if not isinstance(runner._train_loop, BaseLoop) or not hasattr(preprocessor, 'size'):
        return
    if (sizes[0] is None) == (sizes[1] is None):
        yield (
            'data_preprocessor needs size (that of the crops) or size_divisor, one of the two; '
            f'got size={sizes[0]}, size_divisor={sizes[1]}'
        )


def endless_sampler(runner: Runner) -> Iterator[str]:
    """An epoch has an end."""
    for name, loop in _loops(runner).items():
        endless = isinstance(getattr(loop.dataloader, 'sampler', None), InfiniteSampler)
        if endless and not isinstance(loop, IterBasedTrainLoop):
            yield (
                f'{name}_dataloader.sampler is InfiniteSampler, so an epoch of '
                f"{type(loop).__name__} never ends: use dict(type='DefaultSampler', "
                f'shuffle={name == "train"})'
            )


def uneven_sampler(runner: Runner) -> Iterator[str]:
    """In an epoch of training each process has as many batches as the others."""
    loop = runner._train_loop
    sampler = getattr(getattr(loop, 'dataloader', None), 'sampler', None)
    processes = getattr(sampler, 'world_size', 1)
    if getattr(sampler, 'round_up', True) or isinstance(loop, IterBasedTrainLoop):
        return
    images, batch = len(loop.dataloader.dataset), loop.dataloader.batch_size or 1
    rounded = math.floor if loop.dataloader.drop_last else math.ceil
    if rounded(math.ceil(images / processes) / batch) != rounded(images // processes / batch):
        yield (
            f'train_dataloader.sampler.round_up=False gives some of {processes} processes more '
            f'batches of {batch} than others, who wait for ever for the end of {images} images: '
            'use round_up=True'
        )


def empty_loader(runner: Runner) -> Iterator[str]:
    """There is at least one batch."""
    for name, loop in _loops(runner).items():
        if len(loop.dataloader) == 0:
            yield (
                f'{name}_dataloader has no batch: {len(loop.dataloader.dataset)} images are fewer '
                'than batch_size, and drop_last=True drops what is no whole batch'
            )


def crop_size(runner: Runner) -> Iterator[str]:
    """Crops are as large as what batches are padded to."""
    loop, size = runner._train_loop, getattr(segmentor(runner).data_preprocessor, 'size', None)
    if not isinstance(loop, BaseLoop) or size is None:
        return
    size = (size, size) if isinstance(size, int) else tuple(size)
    for transform in _transforms(loop):
        crop = getattr(transform, 'crop_size', None)
        if type(transform).__name__ == 'RandomCrop' and crop and tuple(crop) != size:
            smaller = all(a <= b for a, b in zip(crop, size, strict=True))
            what = 'are padded to' if smaller else 'differ from'
            yield f'crops of {tuple(crop)} {what} data_preprocessor.size={size}: use one size'


def _loops(runner: Runner) -> dict[str, Any]:
    """The loops that are built, by the beginning of their config's keys."""
    loops = dict(train=runner._train_loop, val=runner._val_loop, test=runner._test_loop)
    return {name: loop for name, loop in loops.items() if isinstance(loop, BaseLoop)}


def _heads(model: nn.Module) -> dict[str, Any]:
    """Heads by their place in the config, the one that decides first."""
    heads: dict[str, Any] = {}
    for name in ('decode_head', 'panoptic_head', 'auxiliary_head'):
        part = getattr(model, name, None)
        if isinstance(part, nn.ModuleList):  # of a cascade the last one decides
            found = [(f'{name}[{index}]', head) for index, head in enumerate(part)]
            heads.update(reversed(found) if name == 'decode_head' else found)
        elif part is not None:
            heads[name] = part
    return {f'model.{name}': head for name, head in heads.items()}


def _learns_pixels(head: Any) -> bool:
    """Whether a head learns the class of each pixel; STDC's with a loss of its own learns edges."""
    return getattr(type(head), 'loss_by_feat', None) is BaseDecodeHead.loss_by_feat


def _losses(head: Any) -> dict[str, Any]:
    """The losses of one of MMSegmentation's heads by their place in its config."""
    losses = getattr(head, 'loss_decode', None)
    if isinstance(losses, nn.ModuleList):
        return {f'loss_decode[{index}]': loss for index, loss in enumerate(losses)}
    return {'loss_decode': losses}


def _ignored(part: Any) -> Iterator[tuple[str, int]]:
    """The label that a head, a loss or a transform ignores, by what it calls it."""
    if getattr(part, 'cat_max_ratio', 0) == 1:  # RandomCrop looks at labels only below it
        return
    for name in _IGNORED:
        value = getattr(part, name, None)
        if value is not None:
            yield name, value
    padding = getattr(part, 'pad_val', None)  # of MMCV's Pad
    if isinstance(padding, dict):
        yield 'pad_val.seg', padding.get('seg', 255)


def _divides(model: nn.Module) -> bool:
    return bool(getattr(model.data_preprocessor, 'size_divisor', None))


def metrics_of(loop: Any) -> list[BaseMetric]:
    """The metrics of a loop; none for training."""
    return list(getattr(getattr(loop, 'evaluator', None), 'metrics', ()))


def _transforms(loop: Any) -> Iterator[Any]:
    """All transforms of a loop's data sets, those inside other transforms and wrappers too."""
    waiting = [loop.dataloader.dataset]
    while waiting:
        dataset = waiting.pop()
        waiting += getattr(dataset, 'datasets', [])
        waiting += [dataset.dataset] if hasattr(dataset, 'dataset') else []
        pipeline = getattr(dataset, 'pipeline', ())  # a list in MultiImageMixDataset
        yield from _inner(getattr(pipeline, 'transforms', pipeline))


def _inner(transforms: Any) -> Iterator[Any]:
    for transform in transforms:
        if isinstance(transform, list | tuple):
            yield from _inner(transform)
            continue
        yield transform
        parts = transform.subroutines if isinstance(transform, TestTimeAug) else None
        yield from _inner(parts or getattr(transform, 'transforms', ()))


Check = Callable[[Runner], Iterator[str]]
REFUSED: tuple[Check, ...] = (
    ignore_index,
    num_classes_of_heads,
    class_weight,
    fusion_head,
    windows,
    image_statistics,
    batch_shape,
    endless_sampler,
    uneven_sampler,
    empty_loader,
)
WARNED: tuple[Check, ...] = (crop_size,)
