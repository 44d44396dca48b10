"""Checks that what was read from a file is plain, not too deep, and in proportion to the file."""

import pickle
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .pickle_names import SCALARS, Name, refuse

_MAX_DEPTH = 100
_MAX_GROWTH = 16  # bytes in memory, nothing shared, for a byte in the file
_ALWAYS_FINE = 2**20
_LEAVES = (*SCALARS, torch.Size, torch.dtype, torch.device, np.ndarray)
_CONTAINERS = (dict, OrderedDict, Counter, list, tuple, set, frozenset)


def check_plain(value: Any, file_size: int) -> Any:
    """Checks what was read from a pickle, and returns it.

    Args:
        value: What :meth:`Unpickler.load` returned.
        file_size: Bytes of the whole file.

    Raises:
        pickle.UnpicklingError: It is not plain, too deep, contains itself, or is out of proportion
            to the file: a list of ten lists of ten lists ... is soon larger than any memory for
            whoever writes it out, while a pickle says every one but once.
    """
    _Measure(max(_MAX_GROWTH * file_size, _ALWAYS_FINE)).measure(value, 0)
    return value


class _Measure:
    """Measures nested data, each thing once.

    Args:
        limit: Largest number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._measured: dict[int, tuple[int, int] | None] = {}  # None: in the midst of it

    def measure(self, value: Any, level: int) -> tuple[int, int]:
        """How deep something is, and how large."""
        if type(value) not in _CONTAINERS:
            return 0, _size(value)
        measured = self._measured.get(id(value), (-1, 0))
        if measured is None:
            raise pickle.UnpicklingError('it contains something that contains itself')
        depth, size = measured
        if depth < 0:
            if level >= _MAX_DEPTH:
                raise pickle.UnpicklingError(f'it is nested more than {_MAX_DEPTH} deep')
            self._measured[id(value)] = None
            depth, size = self._of_members(value, level + 1)
            self._measured[id(value)] = depth, size
        if level + depth > _MAX_DEPTH:
            raise pickle.UnpicklingError(f'it is nested more than {_MAX_DEPTH} deep')
        return depth, size

    def _of_members(self, value: Any, level: int) -> tuple[int, int]:
        depth, size = 0, 8
        members = [*value, *value.values()] if isinstance(value, dict) else value
        for member in members:
            its_depth, its_size = self.measure(member, level)
            depth, size = max(depth, its_depth), size + its_size
            if size > self._limit:
                raise pickle.UnpicklingError(f'its contents have {size:,} bytes or more')
        return depth + 1, size


def _size(value: Any) -> int:
    """Bytes of something that has no members, about."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return 8 + value.nbytes
    if isinstance(value, str | bytes | bytearray):
        return 8 + len(value)
    if isinstance(value, HistoryBuffer):
        return 8 + sum(array.nbytes for array in value.data)
    if isinstance(value, Name):
        refuse(value)
    if type(value) not in _LEAVES:
        raise pickle.UnpicklingError(f'it holds a {type(value).__name__}')
    return 8
