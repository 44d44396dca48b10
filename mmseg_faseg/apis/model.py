"""Builds the model of a config."""

import copy
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn

from ..engine import check_config
from ..engine.checkpoint_check import load_weights
from ..errors import UserError


def build_model(cfg: Config) -> nn.Module:
    """Builds a config's segmentor, without loading anything into it.

    Raises:
        UserError: The config has no model with a backbone, or one that cannot be built.
    """
    name = cfg.filename or 'the config'
    if not isinstance(cfg.get('model'), dict) or 'backbone' not in cfg.model:
        raise UserError(f'{name} has no model with a backbone')
    looked_at = ('model', 'default_scope', 'skip_checks')
    try:
        check_config({key: cfg[key] for key in looked_at if key in cfg})
    except UserError as error:
        raise UserError(f'{name}: {error}') from None
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
            # of a copy: building writes into the config
            return MODELS.build(copy.deepcopy(cfg.model))
    except Exception as error:  # whatever a part's constructor raises, the config is to blame
        raise UserError(f'the model of {name} cannot be built: {error}') from error


def load_model(cfg: Config, checkpoint: dict[str, Any], name: str) -> nn.Module:
    """Builds a config's model with the weights of a checkpoint, ready to predict on this machine.

    Args:
        cfg: The config.
        checkpoint: As :func:`mmseg_faseg.checkpoints.read.read_checkpoint` gives it.
        name: Of its file, for the error.

    Raises:
        UserError: The model cannot be built, or the weights are of another one.
    """
    model = build_model(cfg)
    load_weights(model, checkpoint, name)
    return model.to(get_device()).eval()
