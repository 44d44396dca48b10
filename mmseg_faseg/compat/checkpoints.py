"""Has MMEngine read checkpoints as data, whatever they ask for.

MMEngine's loaders of files and addresses are replaced by :func:`load_from_local` and
:func:`load_from_http`, which read with :mod:`mmseg_faseg.compat.torch_files`.

Whoever calls ``torch.load`` gets PyTorch's own ``weights_only`` protection, which refuses what
MMEngine stores beside the weights: ``HistoryBuffer`` objects, hence numpy arrays, and references to
the buffer's statistics, which pickle writes as ``getattr(HistoryBuffer, 'mean')``. Stand-ins for
those are declared safe here. Neither the real ``getattr`` is, which would reach any function of any
module, nor are numpy's functions, which trust a file with sizes and types.

A user may add statistics (``HistoryBuffer.register_statistics``), and then a checkpoint refers to
functions of any name. Which statistics there are is for the code to say and not for a file, so they
are not written any more, and from a file that has them none is taken.
"""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from .fetching import fetch
from .numpy_pickles import numpy_names
from .safetensors import load_from_safetensors
from .torch_files import read_torch_file

_STATISTICS = ('min', 'max', 'current', 'mean')
_HISTORIES = ('_log_history', '_count_history')


def allow_mmengine_checkpoints() -> None:
    """Has MMEngine read with our loaders, and ``torch.load`` take what MMEngine writes."""
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_statistic, 'builtins.getattr'),
            *((value, name) for name, value in numpy_names().items()),
        ]
    )
    HistoryBuffer.__getstate__ = _state_without_statistics
    HistoryBuffer.__setstate__ = _take_state_without_statistics
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'), load_from_http, force=True)
    # MMEngine's loaders of model zoos (torchvision://, open-mmlab://, mmcls://) call these by name.
    mmengine_checkpoint.load_from_local = load_from_local
    mmengine_checkpoint.load_from_http = load_from_http
    # With this the fork's loaders of stores read; its own unpickles whatever protection refuses.
    mmengine_checkpoint._safe_torch_load = _load_protected


def load_from_local(filename: str | Path, map_location: Any = None) -> Any:
    """Reads a checkpoint; MMEngine calls it for those on disk. Nothing in it can run code.

    Args:
        filename: A file written by ``torch.save``, or one ending in ``.safetensors``.
        map_location: As in ``torch.load``.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is damaged, no checkpoint, or holds something else than data. The message is
            one line and names the file.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'{filename} can not be found.')
    if filename.endswith('.safetensors'):
        return load_from_safetensors(filename, map_location)
    return read_torch_file(filename, map_location)


def load_from_http(
    filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = True
) -> Any:
    """Fetches a checkpoint, unless it is there already, and reads it like any other.

    Args:
        filename: Address.
        map_location: As in ``torch.load``.
        model_dir: Folder to keep it in; that of ``torch.hub`` if None.
        progress: Whether to show how far fetching is.

    Raises:
        UserError: It cannot be fetched, or :func:`load_from_local` refuses it.
    """
    file = fetch(filename, model_dir, progress)
    dist.barrier()
    return load_from_local(file, map_location)


def _load_protected(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    return torch.load(file, map_location=map_location, weights_only=True)


def _state_without_statistics(self: HistoryBuffer) -> dict[str, Any]:
    state = dict(self.__dict__)
    state.pop('statistics_methods', None)
    return state


def _take_state_without_statistics(self: HistoryBuffer, state: Any) -> None:
    if not isinstance(state, dict) or state.keys() - {'statistics_methods'} != {
        'max_length',
        *_HISTORIES,
    }:
        raise pickle.UnpicklingError('a HistoryBuffer has other entries than its numbers')
    histories = [state[name] for name in _HISTORIES]
    flat = all(isinstance(history, np.ndarray) and history.ndim == 1 for history in histories)
    if not flat or len(histories[0]) != len(histories[1]) or type(state['max_length']) is not int:
        raise pickle.UnpicklingError('a HistoryBuffer has entries of other types than its numbers')
    self._set_default_statistics()
    self.max_length = state['max_length']
    # plain arrays, also where `torch.load` reads
    self._log_history, self._count_history = (np.array(history) for history in histories)


def _history_statistic(owner: type, name: str) -> Callable:
    """Stands in for ``getattr`` where ``torch.load`` reads a checkpoint.

    Raises:
        pickle.UnpicklingError: For anything but a statistic of ``HistoryBuffer``.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(
            f'GLOBAL builtins.getattr({owner!r}, {name!r}) is none of the statistics '
            f'{_STATISTICS} of HistoryBuffer'
        )
    return getattr(HistoryBuffer, name)
