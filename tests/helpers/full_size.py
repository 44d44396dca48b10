"""Models of full size in a tenth of the time, where their weights do not matter."""

from typing import Any

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn
from torch.overrides import TorchFunctionMode

from tests.helpers.optional import NO_TIMM

_RANDOM = ('uniform_', 'normal_')  # trunc_normal_, kaiming_uniform_, xavier_normal_, ... too


class NoRandomWeights(TorchFunctionMode):
    """Inside, nothing is filled with random numbers: such weights hold whatever memory held.

    Nine tenths of the time that a large model takes to build goes into drawing them. Shapes, names,
    kinds of layers and what is frozen are as always.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if func.__name__.endswith(_RANDOM):
            return args[0] if args else kwargs['tensor']
        return func(*args, **kwargs)


def build_segmentor(cfg: Config) -> nn.Module:
    """The model of a config, with random weights in place of pre-trained ones."""
    if cfg.model.backbone.type == 'TimmFeatures':
        pytest.importorskip('timm', reason=NO_TIMM)
    cfg.model.backbone.init_cfg = None
    return MODELS.build(cfg.model)


def outline(cfg: Config) -> nn.Module:
    """The model of a config with weights of no meaning."""
    with NoRandomWeights():
        return build_segmentor(cfg)
