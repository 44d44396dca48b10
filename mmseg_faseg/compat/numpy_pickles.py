"""Rebuilds numpy's arrays and scalars from what a pickle says about them.

numpy's own functions trust a pickle: an array may name a type of Python objects over arbitrary
bytes, or a size that its bytes do not have, and reads or writes memory that is not its own. The
functions here stand under the names of numpy's and take numbers only, as many as there are bytes.
"""

import math
import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_CODE = re.compile(r'[biufc]\d{1,2}')  # bool, int, uint, float, complex, and the size in bytes
_MAX_DIMENSIONS = 32


def numpy_names() -> dict[str, Callable]:
    """What arrays and scalars are rebuilt with, by the names that pickle writes.

    numpy 1 writes ``numpy.core``, numpy 2 ``numpy._core``.
    """
    moved: dict[str, Callable] = {
        'multiarray._reconstruct': start_array,
        'multiarray.scalar': scalar,
        'numeric._frombuffer': from_buffer,
    }
    names: dict[str, Callable] = {
        f'numpy.{core}.{name}': function
        for name, function in moved.items()
        for core in ('core', '_core')
    }
    names |= {f'{module}.bytes': no_bytes for module in ('builtins', '__builtin__')}
    return names | {'numpy.ndarray': Array, 'numpy.dtype': NumberType}


class NumberType:
    """Stands in for ``numpy.dtype``.

    Args:
        code: Such as ``'f8'``.

    Raises:
        pickle.UnpicklingError: It is not a type of numbers.
    """

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if isinstance(code, bytes):  # of Python 2
            code = code.decode('latin1')
        try:
            if not (isinstance(code, str) and _CODE.fullmatch(code)):
                raise TypeError
            self.dtype = np.dtype(code)
        except TypeError:
            raise pickle.UnpicklingError(
                f'an array is of type {_short(code)}, not of numbers'
            ) from None

    def __setstate__(self, state: Any) -> None:
        """Takes the order of bytes, and no fields."""
        order = state[1] if isinstance(state, tuple) and len(state) > 4 else None
        if isinstance(order, bytes):
            order = order.decode('latin1')
        if order not in ('<', '>', '|', '=') or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError(f'an array is of type {_short(state)}, not of numbers')
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class Array(np.ndarray):
    """An array that is about to be filled, and pickles as the plain one that it stands for.

    ``torch.load`` cannot replace what it has begun to build, so from there it is what one gets.
    """

    def __new__(cls) -> 'Array':
        """An empty one."""
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: Any) -> None:
        """Takes shape and values."""
        if not isinstance(state, tuple) or len(state) != 5 or self.size:
            raise pickle.UnpicklingError(f'an array has the state {_short(state)}')
        _, shape, number_type, fortran, data = state
        values = _array(data, number_type, shape, 'F' if fortran else 'C')
        # In place: whoever has it already keeps it. Of the file's own state nothing goes in.
        own = (1, values.shape, values.dtype, False, values.tobytes())
        super().__setstate__(own)  # type: ignore[arg-type]  # NumPy's own are not np.bool

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As the plain array's."""
        return self.plain().__reduce_ex__(protocol)

    def plain(self) -> np.ndarray:
        """The same values as a plain array."""
        return np.array(self, order='K')


def no_bytes() -> bytes:
    """Stands in for ``bytes``, which protocol 2 calls for none."""
    return b''


def start_array(kind: Any = None, shape: Any = None, code: Any = None) -> Array:
    """Stands in for ``_reconstruct``, whose arguments say nothing: the state does."""
    return Array()


def scalar(number_type: Any, data: Any = b'') -> Any:
    """Stands in for ``scalar``."""
    return _array(data, number_type, (), 'C')[()]


def from_buffer(
    data: Any, number_type: Any, shape: Any, order: Any = 'C', axis_order: Any = None
) -> np.ndarray:
    """Stands in for ``_frombuffer``, which protocol 5 writes."""
    if order == 'K' and axis_order is not None:
        values = _array(data, number_type, shape, 'C')
        if not is_shape(axis_order) or sorted(axis_order) != list(range(values.ndim)):
            raise pickle.UnpicklingError(f'an array has its axes in the order {_short(axis_order)}')
        return values.transpose(axis_order)
    return _array(data, number_type, shape, 'F' if order == 'F' else 'C')


def _array(data: Any, number_type: Any, shape: Any, order: Any) -> np.ndarray:
    """A new array of ``shape`` with the values in ``data``.

    Raises:
        pickle.UnpicklingError: The bytes are more or fewer, or something is of the wrong type.
    """
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode('latin1')
    if not isinstance(number_type, NumberType) or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError(f'an array is made of {_short(number_type)}, {_short(data)}')
    if not is_shape(shape):
        raise pickle.UnpicklingError(f'an array has the shape {_short(shape)}')
    dtype = number_type.dtype
    if math.prod(shape) * dtype.itemsize != len(data):
        raise pickle.UnpicklingError(
            f'an array of shape {tuple(shape)} and type {dtype} has {len(data)} bytes'
        )
    if not data:
        return np.zeros(shape, dtype)
    if dtype.kind == 'b':  # a byte may be something else than 0 and 1
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape, order=order)
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy(order='K')


def is_shape(value: Any) -> bool:
    """Whether something is a tuple of as few and as small sizes as arrays and tensors have."""
    if not isinstance(value, Sequence) or len(value) > _MAX_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size < 2**48 for size in value)


def _short(value: Any) -> str:
    """A few characters that say what something is, however large or deep it is."""
    return repr(value)[:30] if isinstance(value, str | int) else type(value).__name__
