"""Makes what a checkpoint stores plain, so that it loads where no code may run."""

import datetime
import enum
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_WEIGHTS = ('state_dict', 'ema_state_dict')  # PyTorch keeps more in these dicts than their items
# As they are; MMEngine's curves hold arrays of numbers.
_PLAIN = (torch.Tensor, HistoryBuffer, str, bytes, bool, int, float, complex, type(None))
_NOTHING = object()  # stands for what is left out


def make_plain(checkpoint: dict[str, Any]) -> list[str]:
    """Replaces what a checkpoint stores beside the weights by what any reader accepts.

    Dicts of any class become dicts, paths and dates words, sets sorted lists.

    Args:
        checkpoint: As MMEngine is about to save it; changed in place.

    Returns:
        Names and classes of what had no such form and was left out: functions, and objects of
        other classes.
    """
    left_out: list[str] = []
    for name in [key for key in checkpoint if key not in _WEIGHTS]:
        checkpoint[name] = _plain(checkpoint[name], name, left_out)
    for name in [key for key, value in checkpoint.items() if value is _NOTHING]:
        del checkpoint[name]
    return left_out


def _plain(value: Any, name: str, left_out: list[str]) -> Any:
    if type(value) in _PLAIN or isinstance(value, torch.Tensor | HistoryBuffer):
        return value
    if isinstance(value, Mapping):
        return {
            _key(key): item
            for key, child in value.items()
            if (item := _plain(child, f'{name}.{key}', left_out)) is not _NOTHING
        }
    if isinstance(value, list | tuple | set | frozenset):
        members = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        items = [_plain(item, f'{name}[{index}]', left_out) for index, item in enumerate(members)]
        kept = [item for item in items if item is not _NOTHING]
        return tuple(kept) if isinstance(value, tuple) else kept
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biufc' and value.size:
        return value  # without a number in it, pickle writes it in a way that PyTorch refuses
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), name, left_out)
    if isinstance(value, enum.Enum):
        return _plain(value.value, name, left_out)
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    left_out.append(f'{name} ({type(value).__name__})')
    return _NOTHING


def _key(key: Any) -> Any:
    return key if type(key) in (str, bool, int, float, tuple, type(None)) else str(key)
