"""Lets MMEngine's checkpoints load with PyTorch's ``weights_only`` protection switched on.

PyTorch >= 2.6 unpickles tensors and what has been declared safe, nothing else. MMEngine stores its
loss curves beside the weights: ``HistoryBuffer`` objects, hence numpy arrays, and references to the
buffer's statistics, which pickle writes as ``getattr(HistoryBuffer, 'mean')``. Those are declared
safe here. The real ``getattr`` is not: it would reach any function of any module. In its place
stands one that knows the four statistics only.
"""

import pickle
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_STATISTICS = ('min', 'max', 'current', 'mean')


def allow_mmengine_checkpoints() -> None:
    """Declares safe what MMEngine writes into a checkpoint, and nothing that can run code."""
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_statistic, 'builtins.getattr'),
            *((value, name) for name, value in numpy_globals().items()),
        ]
    )


def _history_statistic(owner: type, name: str) -> Callable:
    """Stands in for ``getattr`` in a checkpoint.

    Raises:
        pickle.UnpicklingError: For anything but a statistic of ``HistoryBuffer``.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(
            f'GLOBAL builtins.getattr({owner!r}, {name!r}) is none of the statistics '
            f'{_STATISTICS} of HistoryBuffer'
        )
    return getattr(HistoryBuffer, name)


def numpy_globals() -> dict[str, Callable]:
    """What numpy's arrays and scalars are rebuilt with, by the names that pickle writes.

    Taken from numpy itself and listed under both names of its module: numpy 1 writes
    ``numpy.core``, numpy 2 ``numpy._core``. Arrays of Python objects stay refused.
    """
    array, buffer = np.zeros(1), np.zeros(1).__reduce_ex__(5)[0]
    functions = [array.__reduce__()[0], np.float64(0).__reduce__()[0], buffer]
    moved = {
        f'numpy.{core}.{function.__module__.rsplit(".", 1)[-1]}.{function.__name__}': function
        for function in functions
        for core in ('core', '_core')
    }
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All'] if code not in 'OV'}
    fixed = [np.ndarray, np.dtype, *dtypes]
    return moved | {f'{item.__module__}.{item.__qualname__}': item for item in fixed}
