"""Lets MMEngine's checkpoints load with PyTorch's ``weights_only`` protection switched on.

PyTorch >= 2.6 unpickles tensors and what has been declared safe, nothing else. MMEngine stores its
loss curves beside the weights: ``HistoryBuffer`` objects, hence numpy arrays, and references to the
buffer's statistics, which pickle writes as ``getattr(HistoryBuffer, 'mean')``. Those are declared
safe here. The real ``getattr`` is not: it would reach any function of any module. In its place
stands one that knows the four statistics only.

A user may add statistics (``HistoryBuffer.register_statistics``), and then a checkpoint refers to
functions of any name. Which statistics there are is for the code to say and not for a file, so they
are not written any more, and from a file that has them none is taken: :func:`load_from_local` reads
such a reference as an object that can do nothing, and that does not outlive the reading.
"""

import os
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

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
    HistoryBuffer.__getstate__ = _state_without_statistics
    HistoryBuffer.__setstate__ = _take_state_without_statistics
    CheckpointLoader.register_scheme('', load_from_local, force=True)


def load_from_local(
    filename: str | Path, map_location: Any = None, weights_only: bool | None = None
) -> Any:
    """Reads a file written by ``torch.save``; MMEngine calls it for checkpoints on disk.

    Args:
        filename: The file.
        map_location: As in ``torch.load``.
        weights_only: As in ``torch.load``, where None leaves it to PyTorch: yes, unless the
            environment says otherwise.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: There is no such file.
        pickle.UnpicklingError: It holds something that is not declared safe and is no statistic.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'{filename} can not be found.')
    try:
        return torch.load(filename, map_location=map_location, weights_only=weights_only)
    except pickle.UnpicklingError as refused:
        try:
            return _load_without_references(filename, map_location)
        except Exception:  # whatever else is wrong with the file, the first thing is named
            raise refused from None


class _Reference:
    """Takes the place of a function that a file refers to, and can do nothing."""

    def __call__(self, *args, **kwargs) -> NoReturn:
        raise pickle.UnpicklingError('a checkpoint calls a function that is not declared safe')


def _load_without_references(filename: str, map_location: Any) -> Any:
    """Reads a file in which unknown functions are mentioned, as long as no mention is kept."""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(filename)
    references = [_Reference() for _ in names]
    watched = [weakref.ref(reference) for reference in references]
    with torch.serialization.safe_globals(list(zip(references, names, strict=True))):
        checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
    del references
    if not watched or any(reference() is not None for reference in watched):
        raise pickle.UnpicklingError('not all of what is unknown are statistics')
    return checkpoint


def _state_without_statistics(self: HistoryBuffer) -> dict[str, Any]:
    state = dict(self.__dict__)
    state.pop('statistics_methods', None)
    return state


def _take_state_without_statistics(self: HistoryBuffer, state: dict[str, Any]) -> None:
    self._set_default_statistics()
    self.__dict__.update(state)
    self.__dict__.pop('statistics_methods', None)


def _history_statistic(owner: type, name: str) -> Callable:
    """Stands in for ``getattr`` in a checkpoint.

    Raises:
        pickle.UnpicklingError: For anything but a statistic of ``HistoryBuffer``.
    """
    if isinstance(owner, _Reference):  # a statistic that is a method of some class
        return owner
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
    functions: list[Any] = [array.__reduce__()[0], np.float64(0).__reduce__()[0], buffer]
    moved = {
        f'numpy.{core}.{function.__module__.rsplit(".", 1)[-1]}.{function.__name__}': function
        for function in functions
        for core in ('core', '_core')
    }
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All'] if code not in 'OV'}
    fixed: list[Any] = [np.ndarray, np.dtype, *dtypes]
    return moved | {f'{item.__module__}.{item.__qualname__}': item for item in fixed}
