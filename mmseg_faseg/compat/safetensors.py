"""Checkpoints as ``.safetensors``: weights that any framework reads, without pickle.

The format holds tensors and strings. A checkpoint's ``meta`` becomes a string of JSON, with a
SHA-256 of the weights and of itself: the format has no checksum of its own. Once ``mmseg_faseg`` is
imported, such a file is a checkpoint to MMEngine: in ``load_from``, ``init_model``,
``MMSegInferencer`` and our tools.
"""

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from .plain_data import check_plain

# A path, not an address: those belong to MMEngine's loaders, and this one comes after them.
_SCHEME = r'(?!\S+://).*\.safetensors$'
# JSON's keys are strings; a dict with others (label maps) is written as pairs under this key.
_PAIRS = '__pairs__'
_SHA256 = '__sha256__'


def save_safetensors(checkpoint: dict, path: str | Path) -> None:
    """Writes a checkpoint's ``state_dict`` and ``meta``.

    Args:
        checkpoint: ``state_dict`` holds contiguous tensors on the CPU that share no memory.
        path: File to write.

    Raises:
        TypeError: The format has no place for an entry; the message names it and its class.
    """
    state_dict = checkpoint['state_dict']
    # One entry only: of several, the format's writer picks the order by chance, and with it the
    # file's hash.
    meta = _to_json(checkpoint['meta'], 'meta')
    metadata = dict(meta=json.dumps({**meta, _SHA256: _digest(state_dict, meta)}))
    try:
        save_file(dict(state_dict), path, metadata)
    except KeyError as error:  # from its table of types
        (dtype,) = error.args
        key = next(key for key, tensor in state_dict.items() if tensor.dtype == dtype)
        raise TypeError(f'{key} is of {dtype}, which safetensors does not hold') from None


def load_from_safetensors(
    filename: str, map_location: str | torch.device | Callable | None = None
) -> dict:
    """Reads a ``.safetensors`` file as a checkpoint; MMEngine calls it for files of that name.

    Args:
        filename: The file. One that was not written here has an empty ``meta``.
        map_location: A device; anything else means the CPU.

    Returns:
        ``state_dict`` and ``meta``, as saved but for tuples and numpy arrays, which are lists now.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is cut off, damaged or not of this format. Files that were not written here
            carry no checksum.
    """
    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    try:
        with safe_open(os.path.expanduser(filename), 'pt', device=str(device)) as file:
            metadata = file.metadata() or {}
            state_dict = OrderedDict((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(
            f'{filename} is not loaded: it is cut off or no safetensors file ({error})'
        ) from None
    try:
        written = json.loads(metadata.get('meta', '{}'))
        digest = written.pop(_SHA256, None)
        meta = check_plain(_from_json(written), os.path.getsize(os.path.expanduser(filename)))
    except (ValueError, TypeError, AttributeError, RecursionError, UnpicklingError) as error:
        raise UserError(
            f'{filename} is not loaded: its metadata is not that of a checkpoint ({error})'
        ) from None
    if digest not in (None, _digest(state_dict, written)):
        raise UserError(f'{filename} is not loaded: it is damaged: its SHA-256 is another')
    return dict(meta=meta, state_dict=state_dict)


def _digest(state_dict: Mapping[str, Tensor], meta: Any) -> str:
    """SHA-256 of the meta, and of names, types, shapes and bytes of tensors."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(state_dict):
        tensor = state_dict[name].cpu()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def register_safetensors() -> None:
    """Has MMEngine read ``.safetensors`` files. Calling it twice is harmless."""
    CheckpointLoader.register_scheme(_SCHEME, load_from_safetensors, force=True)


def _to_json(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _to_json(item, f'{name}.{key}') for key, item in value.items()}
        return {_PAIRS: [_to_json(pair, name) for pair in value.items()]}
    if isinstance(value, list | tuple):
        return [_to_json(item, f'{name}[{index}]') for index, item in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist(), name)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f'{name} is a {type(value).__name__}, which has no form in JSON')


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_PAIRS}:
        return {key: _from_json(item) for key, item in value[_PAIRS]}
    return {key: _from_json(item) for key, item in value.items()}
