"""Our configs, each read once per process."""

import copy
import functools

from mmengine.config import Config
from mmengine.registry import init_default_scope

from tests.helpers.tools import REPOSITORY

# What the Runner reads, besides the model.
OF_THE_RUN = (
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'val_evaluator',
    'test_evaluator',
    'tta_model',
    'tta_pipeline',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'default_hooks',
    'custom_hooks',
    'randomness',
    'auto_scale_lr',
    'env_cfg',
)
OF_BOTH_HEADS = (
    'in_channels',
    'feat_channels',
    'out_channels',
    'num_queries',
    'num_classes',
    'loss_mask',
    'loss_dice',
    'train_cfg',
)


def load(name: str) -> Config:
    """A copy, to change at will, of ``configs/{name}.py``; its default scope becomes the current.

    What the environment says is read once, too.
    """
    cfg = copy.deepcopy(_read(name))
    if 'default_scope' in cfg:
        init_default_scope(cfg.default_scope)
    return cfg


@functools.cache
def _read(name: str) -> Config:
    return Config.fromfile(REPOSITORY / 'configs' / f'{name}.py')
