"""The format of ``torch.save`` before PyTorch 1.6: pickles, then the bytes of tensors."""

import pickle
import struct
from collections.abc import Callable
from typing import IO, Any

import torch

from .plain_pickles import Unpickler
from .tensor_pickles import Memory, names_with_tensors, read_memory, storage_id

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_legacy(file: IO[bytes], size: int, move: Callable) -> Any:
    """Reads the older format: five pickles, then the bytes of tensors one after the other.

    The pickle with the tensors is read twice: for the sizes, with memory that is not there, and
    again when its bytes are.
    """
    memories: dict[str, Memory] = {}
    locations: dict[str, Any] = {}

    def absent(saved: Any) -> Memory:
        dtype, key, locations[key], count = storage_id(saved, 6)
        if saved[5] is not None:
            raise pickle.UnpicklingError('memory of tensors is a part of other memory')
        if key not in memories:
            nothing = torch.UntypedStorage(count * dtype.itemsize, device='meta')
            memories[key] = Memory(nothing, dtype)
        return Memory(memories[key].bytes, dtype)

    def present(saved: Any) -> Memory:
        dtype, key, _, _ = storage_id(saved, 6)
        return Memory(memories[key].bytes, dtype)

    _check_legacy(file)
    start = file.tell()
    Unpickler(file, names_with_tensors(), absent).load()
    keys = Unpickler(file, {}).load()
    listed = isinstance(keys, list) and all(type(key) in (str, int) for key in keys)
    if not listed or sorted(map(str, keys)) != sorted(memories):
        raise pickle.UnpicklingError('the list of its tensors is not that of their memory')
    if sum(memory.bytes.nbytes() for memory in memories.values()) > size - file.tell():
        raise EOFError
    for key in map(str, keys):
        dtype, expected = memories[key].dtype, memories[key].bytes.nbytes()
        (count,) = struct.unpack('<q', file.read(8))
        if count * dtype.itemsize != expected:
            raise pickle.UnpicklingError('the memory of a tensor is of another size')
        memories[key] = Memory(move(read_memory(file, expected), locations[key]), dtype)
    file.seek(start)
    return Unpickler(file, names_with_tensors(), present).load()


def _check_legacy(file: IO[bytes]) -> None:
    first = Unpickler(file, {}).load()
    if first != _MAGIC:
        raise pickle.UnpicklingError(
            f'it is a pickle of a {type(first).__name__}, not a checkpoint of torch.save'
        )
    version, system = Unpickler(file, {}).load(), Unpickler(file, {}).load()
    little_endian = not isinstance(system, dict) or system.get('little_endian', True)
    if version != _VERSION or not little_endian:
        raise pickle.UnpicklingError('it is of another version, or its numbers are big-endian')
