"""Writes the config of a run on folders of photos and labels."""

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..compat.configs import config_path
from .classes import Classes
from .settings import Settings
from .survey import Survey

_BASES = ('default_runtime.py', 'models/{model}.py', 'datasets/folders.py', 'schedules/own_data.py')
_TEXT = """\
# Written by
#   {command}
# Change what you like; the same command with --resume, or
#   python tools/train.py {file}
# goes on with it. Elsewhere the files of _base_ are mmseg_faseg::_base_/...
_base_ = [
{bases}
]
work_dir = {work_dir!r}
{start}
# Data: train.txt and val.txt list the names of images, a line each.
classes = {classes!r}
palette = {palette!r}
part = dict(
    data_prefix=dict(
        img_path={images!r},
        seg_map_path={labels!r},
    ),
    metainfo=dict(classes=classes, palette=palette),{values}
)

# Size and length: side of the crops, crops per iteration and process, iterations.
crop_size = ({crop}, {crop})
batch_size = {batch_size}
max_iters = {iters}
val_interval = {interval}

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoiceResize',
        scales={scales},
        resize_type='ResizeShortestEdge',
        max_size={max_size},
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),{resize}
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(ann_file={train!r}, pipeline=train_pipeline, **part),
)
val_dataloader = dict(dataset=dict(ann_file={val!r}, pipeline=test_pipeline, **part))
test_dataloader = val_dataloader

model = dict(
    data_preprocessor=dict(size=crop_size),{backbone}
    decode_head=dict(num_classes=len(classes)),
)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval, save_best='mIoU'))
randomness = dict(seed={seed})
"""


def config_text(
    file: Path,
    used: Survey,
    classes: Classes,
    settings: Settings,
    *,
    command: Sequence[str],
    start: str | None = None,
    seed: int = 0,
) -> str:
    """The config of a run.

    Args:
        file: Where it will be; the work dir is named after it, and has the lists of names.
        used: What is trained and validated on.
        classes: What the labels mean.
        settings: How it is trained.
        command: What the user typed.
        start: Checkpoint to start from.
        seed: Of everything that is drawn.
    """
    bases = [config_path(f'_base_/{base.format(model=settings.model)}') for base in _BASES]
    work_dir = file.with_suffix('').absolute()
    resize, values = '', ''
    if settings.short_side is not None:
        side = settings.short_side
        resize = f"\n    dict(type='ResizeShortestEdge', scale={side}, max_size={4 * side}),"
    if classes.values is not None:
        values += f'\n    label_values={list(classes.values)},'
    if used.label_ending:
        values += f'\n    seg_map_suffix={used.label_ending!r},'
    return _TEXT.format(
        command=' \\\n#       '.join(
            textwrap.wrap(shlex.join(command), 84, break_long_words=False)
        ),
        file=file,
        bases='\n'.join(f'    {str(base)!r},' for base in bases),
        work_dir=str(work_dir),
        start=f'load_from = {start!r}\n' if start else '',
        backbone='\n    backbone=dict(init_cfg=None),  # its weights come with load_from'
        if start
        else '',
        classes=classes.names,
        palette=classes.palette,
        images=str(Path(used.images).absolute()),
        labels=str(Path(str(used.labels)).absolute()),
        values=values,
        resize=resize,
        train=str(work_dir / 'train.txt'),
        val=str(work_dir / 'val.txt'),
        max_size=4 * max(settings.scales),
        seed=seed,
        **settings._asdict(),
    )
