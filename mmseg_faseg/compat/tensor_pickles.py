"""Rebuilds tensors from what a file of ``torch.save`` says about them, within their memory.

PyTorch's own functions trust a file with sizes, steps and places.
"""

import math
import pickle
import re
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .numpy_pickles import is_shape
from .pickle_names import Name, plain_names, word

CHUNK = 2**24  # bytes that are read at once
_DEVICE = re.compile(r'[a-z]{2,10}(:\d{1,4})?')
_STORAGES = {
    'Double': torch.float64,
    'Float': torch.float32,
    'Half': torch.float16,
    'BFloat16': torch.bfloat16,
    'Long': torch.int64,
    'Int': torch.int32,
    'Short': torch.int16,
    'Char': torch.int8,
    'Byte': torch.uint8,
    'Bool': torch.bool,
    'ComplexFloat': torch.complex64,
    'ComplexDouble': torch.complex128,
}
_DTYPES = {*_STORAGES.values(), torch.uint16, torch.uint32, torch.uint64} | {
    dtype for name, dtype in vars(torch).items() if name.startswith('float8_e')
}


class Memory(NamedTuple):
    """Bytes that tensors lie in, and the type of numbers that is theirs if no other is named."""

    bytes: torch.UntypedStorage
    dtype: torch.dtype


class _StorageType(NamedTuple):
    dtype: torch.dtype


def names_with_tensors() -> dict[str, Any]:
    tensors = {
        'torch._utils._rebuild_tensor': _tensor,
        'torch._utils._rebuild_tensor_v2': _tensor,
        'torch._utils._rebuild_tensor_v3': _tensor_of_type,
        'torch._utils._rebuild_parameter': _parameter,
        'torch._utils._rebuild_parameter_with_state': _parameter,
        'torch._tensor._rebuild_from_type_v2': _tensor_with_attributes,
    }
    storages = {f'torch.{name}Storage': _StorageType(dtype) for name, dtype in _STORAGES.items()}
    return {
        **plain_names(),
        **tensors,
        **storages,
        **{str(dtype): dtype for dtype in _DTYPES},
        'torch.storage.UntypedStorage': _StorageType(torch.uint8),
        'torch.Size': _size,
        'torch.device': _device,
    }


def _tensor(
    memory: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A tensor that lies within its memory.

    Raises:
        pickle.UnpicklingError: It would not.
    """
    lies = isinstance(memory, Memory) and is_shape(shape) and is_shape(stride)
    if not lies or len(shape) != len(stride) or type(offset) is not int or metadata:
        raise pickle.UnpicklingError('a tensor is made of other than memory, place and sizes')
    dtype = dtype or memory.dtype
    there = memory.bytes.nbytes() // dtype.itemsize
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    count = math.prod(shape)
    if offset < 0 or (count and last >= there) or count >= 2**48:
        raise pickle.UnpicklingError(
            f'a tensor of shape {tuple(shape)} does not lie within its {there} numbers'
        )
    tensor = torch.empty(0, dtype=dtype, device=memory.bytes.device)
    if count:
        tensor.set_(memory.bytes, offset, tuple(shape), tuple(stride))
    else:
        tensor = tensor.reshape(tuple(shape))
    return tensor.requires_grad_(requires_grad is True)


def _tensor_of_type(
    memory: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    if not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError('a tensor is of no type')
    return _tensor(memory, offset, shape, stride, requires_grad, metadata=metadata, dtype=dtype)


def _parameter(tensor: Any, requires_grad: Any, hooks: Any = None, state: Any = None) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise pickle.UnpicklingError('a parameter is made of no tensor')
    return torch.nn.Parameter(tensor.detach(), requires_grad is True)


def _tensor_with_attributes(function: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    """Without the attributes, which are no part of the weights."""
    if not isinstance(function, Name) or function.function not in (_tensor, _tensor_of_type):
        raise pickle.UnpicklingError('a tensor is made by what makes none')
    return function.function(*arguments)


def _size(sizes: Any = ()) -> torch.Size:
    if not is_shape(sizes):
        raise pickle.UnpicklingError('a size is made of other than numbers')
    return torch.Size(sizes)


def _device(kind: Any, index: Any = None) -> torch.device:
    name = word(kind) if type(index) is not int else f'{word(kind)}:{index}'
    if not _DEVICE.fullmatch(name):
        raise pickle.UnpicklingError('a device has no name of one')
    return torch.device(name)


def mover(map_location: Any) -> Callable[[torch.UntypedStorage, Any], torch.UntypedStorage]:
    """Moves memory to where ``map_location`` says, for memory that was in a certain place."""

    def move(storage: torch.UntypedStorage, location: Any) -> torch.UntypedStorage:
        if isinstance(location, bytes):  # of Python 2
            location = location.decode('latin1')
        if not isinstance(location, str) or not _DEVICE.fullmatch(location):
            raise pickle.UnpicklingError('a tensor is on a device without a name')
        if isinstance(map_location, str | torch.device):
            location = str(map_location)
        elif isinstance(map_location, dict):
            location = map_location.get(location, location)
        elif map_location is not None:
            moved = map_location(storage, location)
            if moved is not None:
                return moved
        try:
            return torch.serialization.default_restore_location(storage, location)
        except (RuntimeError, AssertionError):  # there is no such device
            raise pickle.UnpicklingError(f'there is no {location} to load it to') from None

    return move


def storage_id(saved: Any, length: int) -> tuple[torch.dtype, str, Any, int]:
    """Type, key, location and number of values of memory that a pickle mentions."""
    if type(saved) is not tuple or len(saved) != length or saved[0] not in ('storage', b'storage'):
        raise pickle.UnpicklingError('it mentions other than memory of tensors')
    _, kind, key, location, count = saved[:5]
    if not isinstance(kind, _StorageType) or not is_shape([count]):
        raise pickle.UnpicklingError('memory of tensors has no type or size')
    return kind.dtype, str(key) if isinstance(key, str | int) else '', location, count


def read_memory(record: IO[bytes], size: int) -> torch.UntypedStorage:
    """Reads so many bytes; at the end of a record, zipfile compares them with their CRC-32."""
    memory = torch.empty(size, dtype=torch.uint8)
    view = memory.numpy()
    at = 0
    while at < size:
        chunk = record.read(min(CHUNK, size - at))
        if not chunk:
            raise EOFError
        view[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    return memory.untyped_storage()
