"""Checkpoints as ``.safetensors``: weights that any framework reads, without pickle.

The format holds tensors and strings. A checkpoint's ``meta`` becomes a string of JSON. Once
``mmseg_faseg`` is imported, such a file is a checkpoint to MMEngine: in ``load_from``,
``init_model``, ``MMSegInferencer`` and our tools.
"""

import json
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

# A path, not an address: those belong to MMEngine's loaders, and this one comes after them.
_SCHEME = r'(?!\S+://).*\.safetensors$'
# JSON's keys are strings; a dict with others (label maps) is written as pairs under this key.
_PAIRS = '__pairs__'


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
    metadata = dict(meta=json.dumps(_to_json(checkpoint['meta'], 'meta')))
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
        SafetensorError: It is cut off or not of this format.
    """
    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    with safe_open(os.path.expanduser(filename), 'pt', device=str(device)) as file:
        metadata = file.metadata() or {}
        state_dict = OrderedDict((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118
    try:
        meta = _from_json(json.loads(metadata.get('meta', '{}')))
    except (ValueError, TypeError) as error:
        raise SafetensorError(f'its metadata is not that of a checkpoint ({error})') from None
    return dict(meta=meta, state_dict=state_dict)


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
