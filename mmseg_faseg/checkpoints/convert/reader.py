"""Reads released checkpoints without running anything that they contain."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...compat.pickle_names import plain_names
from ...compat.plain_data import check_plain
from ...compat.plain_pickles import Unpickler
from ...compat.torch_files import printable
from ...errors import UserError
from ..read import check_checkpoint, read_checkpoint


def read_released(path: str) -> dict[str, Tensor]:
    """Reads the weights in a checkpoint of detectron2, FASeg, MMDetection 2 or the original Swin.

    Args:
        path: A file written by ``torch.save``, or a ``.pkl`` of detectron2, which is a plain
            pickle of numpy arrays. Only tensors, arrays and containers are unpickled.

    Returns:
        The entries of its ``model``, or else ``state_dict``, by key.

    Raises:
        UserError: The file is missing, cut off, no such checkpoint, or holds other objects.
    """
    check_checkpoint(path)
    is_pickle = Path(path).suffix.lower() == '.pkl' and not zipfile.is_zipfile(path)
    checkpoint = _read_pickle(path) if is_pickle else read_checkpoint(path)
    model = None
    if isinstance(checkpoint, dict):
        model = checkpoint.get('model', checkpoint.get('state_dict'))
    if not isinstance(model, dict) or not model:
        found = type(checkpoint).__name__
        if isinstance(checkpoint, dict):
            found = f'entries {", ".join(map(str, list(checkpoint)[:5])) or "none"}'
        raise UserError(
            f"{path} is no released checkpoint: it has no weights under 'model' or 'state_dict', "
            f'but {found}'
        )
    for key in model:
        if not isinstance(key, str):
            raise UserError(f'{path}: the key {key!r} is no name')
    # in front of every key where the weights of a model in data-parallel training were saved
    prefix = 'module.' if all(key.startswith('module.') for key in model) else ''
    return {key.removeprefix(prefix): _tensor(path, key, value) for key, value in model.items()}


def _tensor(path: str, key: Any, value: Any) -> Tensor:
    kind = type(value).__name__
    if isinstance(value, np.ndarray | np.generic):
        kind = f'array of {value.dtype}'
        if value.dtype.kind in 'fiu' and value.dtype.itemsize <= 8:
            native = value.dtype.newbyteorder('=')
            return torch.tensor(np.asarray(value, dtype=native, order='C'))
    if isinstance(value, Tensor):
        kind = f'tensor ({value.layout}, {value.dtype})'
        dense = value.layout == torch.strided and not (value.is_meta or value.is_quantized)
        if dense and not value.is_complex() and value.dtype != torch.bool:
            return value
    raise UserError(f'{path}: {key} is no dense tensor or array of real numbers, but {kind}')


def _read_pickle(path: str) -> Any:
    """Reads a plain pickle of containers and arrays."""
    try:
        with open(path, 'rb') as file:
            checkpoint = Unpickler(file, plain_names()).load()
        return check_plain(checkpoint, Path(path).stat().st_size)
    except pickle.UnpicklingError as error:
        raise UserError(f'{path} is not loaded: {printable(str(error))}') from None
    except Exception as error:  # bytes that are no pickle can end in any error
        raise UserError(
            f'{path} is not loaded: it is cut off or no checkpoint ({type(error).__name__})'
        ) from None
