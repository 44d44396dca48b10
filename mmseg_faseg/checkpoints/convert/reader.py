"""Reads released checkpoints without running anything that they contain."""

import codecs
import pickle
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...compat.checkpoints import numpy_globals
from ...errors import UserError
from ..read import check_checkpoint, read_checkpoint


def read_released(path: str) -> dict[str, Tensor]:
    """Reads the weights in a checkpoint of detectron2, FASeg or the original Swin Transformer.

    Args:
        path: A file written by ``torch.save``, or a ``.pkl`` of detectron2, which is a plain
            pickle of numpy arrays. Only tensors, arrays and containers are unpickled.

    Returns:
        The entries of its ``model``, by key.

    Raises:
        UserError: The file is missing, cut off, no such checkpoint, or holds other objects.
    """
    check_checkpoint(path)
    is_pickle = Path(path).suffix.lower() == '.pkl' and not zipfile.is_zipfile(path)
    checkpoint = _read_pickle(path) if is_pickle else read_checkpoint(path)
    model = checkpoint.get('model') if isinstance(checkpoint, dict) else None
    if not isinstance(model, dict) or not model:
        found = type(checkpoint).__name__
        if isinstance(checkpoint, dict):
            found = f'entries {", ".join(map(str, list(checkpoint)[:5])) or "none"}'
        raise UserError(
            f"{path} is no released checkpoint: it has no weights under 'model', but {found}"
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
    try:
        with open(path, 'rb') as file:
            # latin1: detectron2's older files were written by Python 2
            return _ArrayUnpickler(file, encoding='latin1').load()
    except UserError as error:
        raise UserError(f'{path} is not loaded: {error}') from None
    except Exception as error:  # bytes that are no pickle can end in any error
        raise UserError(
            f'{path} is not loaded: it is cut off or no checkpoint '
            f'({type(error).__name__}: {error})'
        ) from None


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain containers and numpy arrays, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, if it is one of the few that arrays are rebuilt with."""
        full_name = f'{module}.{name}'
        if full_name not in _ALLOWED:
            raise UserError(f'it asks for {full_name}, but may hold only arrays and containers')
        return _ALLOWED[full_name]


def _encode_latin1(text: str, encoding: str = 'latin1') -> bytes:
    """Stands in for ``codecs.encode``, with which old protocols write bytes."""
    if codecs.lookup(encoding).name != 'iso8859-1':
        raise UserError(f'it asks for the codec {encoding!r}, but may hold only latin1')
    return text.encode('latin1')


_ALLOWED = {
    'collections.OrderedDict': OrderedDict,
    'collections.Counter': Counter,
    '_codecs.encode': _encode_latin1,
    **numpy_globals(),
}
