"""Reads files of ``torch.save`` as data, and notices what is damaged.

The directory of such a file (a zip since PyTorch 1.6) is looked at before anything is allocated,
every record is compared with its CRC-32, and a tensor has to lie within its memory. Nothing in the
file can run code; see :mod:`mmseg_faseg.compat.plain_pickles`.
"""

import io
import math
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .numpy_pickles import is_shape
from .plain_pickles import Name, Unpickler, check_plain, plain_names

_ZIP = b'PK\x03\x04'
_CHUNK = 2**24
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the format before the zip
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
# What files begin with that were taken for checkpoints.
_OTHERS = {
    b'\x89PNG': 'a PNG image',
    b'\xff\xd8\xff': 'a JPEG image',
    b'\x1f\x8b': 'a gzip file',
    b'<': 'a page of HTML or XML',
    b'{': 'JSON',
    b'\0': 'zeroes, where it begins',
}


def read_torch_file(path: str | Path, map_location: Any = None) -> Any:
    """Reads a file written by ``torch.save``.

    Args:
        path: The file.
        map_location: Where tensors go, as in ``torch.load``.

    Returns:
        What it holds: tensors, arrays, numbers, words and containers of them.

    Raises:
        UserError: The file is damaged, cut off, of another kind or larger inside than outside, or
            asks for what is no data. The message names it.
    """
    with _explained(path), open(path, 'rb') as file:
        return _read(file, os.fstat(file.fileno()).st_size, _mover(map_location))


def check_torch_file(path: str | Path) -> None:
    """Looks at how a file begins.

    Raises:
        UserError: No file of ``torch.save`` begins so.
    """
    with _explained(path), open(path, 'rb') as file:
        _beginning(file)


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    """Says in one line why a file cannot be read, whatever goes wrong."""
    try:
        yield
        return
    except pickle.UnpicklingError as error:
        reason = str(error)
    except OSError as error:
        reason = str(error.strerror or error)
    except zipfile.BadZipFile as error:
        record = re.search(r"Bad CRC-32 for file '(?:[^/]*/)?(.*)'", str(error))
        reason = 'it is cut off or no checkpoint of torch.save'
        if record:
            reason = f'it is damaged: CRC of record {record[1]}'
    except EOFError:
        reason = 'it is cut off'
    except Exception as error:  # bytes that are no checkpoint can end in any error
        reason = f'it is cut off or no checkpoint ({type(error).__name__})'
    raise UserError(f'{path} is not loaded: {one_line(reason)}')


def one_line(text: str) -> str:
    """Text without what would start a new line or steer a terminal, and not too much of it."""
    return ''.join(character if character.isprintable() else ' ' for character in text)[:500]


def _read(file: IO[bytes], size: int, move: Callable) -> Any:
    begin = _beginning(file)
    file.seek(0)
    read = _read_zip if begin.startswith(_ZIP) else _read_legacy
    return check_plain(read(file, size, move), size)


def _beginning(file: IO[bytes]) -> bytes:
    begin = file.read(512)
    if not begin:
        raise pickle.UnpicklingError('it is empty or cut off')
    if begin.startswith((_ZIP, b'\x80')):
        return begin
    kinds = [kind for start, kind in _OTHERS.items() if begin.startswith(start)]
    if begin[257:262] == b'ustar':
        kinds = ['a tar archive']
    found = f': it is {kinds[0]}' if kinds else ''
    raise pickle.UnpicklingError(f'it is no checkpoint of torch.save{found}')


# --- tensors


class _Memory(NamedTuple):
    """Bytes that tensors lie in, and the type of numbers that is theirs if no other is named."""

    bytes: torch.UntypedStorage
    dtype: torch.dtype


class _StorageType(NamedTuple):
    dtype: torch.dtype


def _names() -> dict[str, Any]:
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
    lies = isinstance(memory, _Memory) and is_shape(shape) and is_shape(stride)
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
    name = kind if index is None else f'{kind}:{index}'
    if not isinstance(name, str) or not _DEVICE.fullmatch(name):
        raise pickle.UnpicklingError('a device has no name of one')
    return torch.device(name)


def _mover(map_location: Any) -> Callable[[torch.UntypedStorage, Any], torch.UntypedStorage]:
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


def _storage_id(saved: Any, length: int) -> tuple[torch.dtype, str, Any, int]:
    """Type, key, location and number of values of memory that a pickle mentions."""
    if type(saved) is not tuple or len(saved) != length or saved[0] not in ('storage', b'storage'):
        raise pickle.UnpicklingError('it mentions other than memory of tensors')
    _, kind, key, location, count = saved[:5]
    if not isinstance(kind, _StorageType) or not is_shape([count]):
        raise pickle.UnpicklingError('memory of tensors has no type or size')
    return kind.dtype, str(key) if isinstance(key, str | int) else '', location, count


# --- since PyTorch 1.6


def _read_zip(file: IO[bytes], size: int, move: Callable) -> Any:
    with zipfile.ZipFile(file) as archive:
        records = _records(archive, size)
        unread = dict(records)
        loaded: dict[str, _Memory] = {}

        def storage(saved: Any) -> _Memory:
            dtype, key, location, count = _storage_id(saved, 5)
            name = f'data/{key}'
            if name not in records or records[name].file_size != count * dtype.itemsize:
                raise pickle.UnpicklingError(f'a tensor has no record {name!r} of its size')
            if key not in loaded:
                memory = _memory(archive.open(unread.pop(name)), records[name].file_size)
                loaded[key] = _Memory(move(memory, location), dtype)
            return _Memory(loaded[key].bytes, dtype)

        content = io.BytesIO(archive.read(unread.pop('data.pkl')))
        if 'byteorder' in unread and archive.read(unread.pop('byteorder')) != b'little':
            raise pickle.UnpicklingError('its numbers are big-endian')
        value = Unpickler(content, _names(), storage).load()
        for record in unread.values():
            with archive.open(record) as rest:
                while rest.read(_CHUNK):
                    pass
        return value


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The records of a checkpoint by their names, if they can be what ``torch.save`` wrote."""
    infos = archive.infolist()
    records = {info.filename.partition('/')[2]: info for info in infos}
    if 'constants.pkl' in records or any(name.startswith('code/') for name in records):
        raise pickle.UnpicklingError('it is a TorchScript program, not a checkpoint')
    if 'data.pkl' not in records:
        raise pickle.UnpicklingError('it is a zip file, but not of torch.save')
    if len(records) != len(infos):
        raise pickle.UnpicklingError('it has two records of the same name')
    for name, info in records.items():
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise pickle.UnpicklingError(f'record {name} is compressed, as torch.save leaves none')
        if info.flag_bits & 1:
            raise pickle.UnpicklingError(f'record {name} is encrypted')
    if sum(info.file_size for info in infos) > size:
        raise pickle.UnpicklingError('its records are larger than the file')
    return records


def _memory(record: IO[bytes], size: int) -> torch.UntypedStorage:
    """Reads so many bytes; at the end of a record, zipfile compares them with their CRC-32."""
    memory = torch.empty(size, dtype=torch.uint8)
    view = memory.numpy()
    at = 0
    while at < size:
        chunk = record.read(min(_CHUNK, size - at))
        if not chunk:
            raise EOFError
        view[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    return memory.untyped_storage()


# --- before


def _read_legacy(file: IO[bytes], size: int, move: Callable) -> Any:
    """Reads the older format: five pickles, then the bytes of tensors one after the other.

    The pickle with the tensors is read twice: for the sizes, with memory that is not there, and
    again when its bytes are.
    """
    memories: dict[str, _Memory] = {}
    locations: dict[str, Any] = {}

    def absent(saved: Any) -> _Memory:
        dtype, key, locations[key], count = _storage_id(saved, 6)
        if saved[5] is not None:
            raise pickle.UnpicklingError('memory of tensors is a part of other memory')
        if key not in memories:
            nothing = torch.UntypedStorage(count * dtype.itemsize, device='meta')
            memories[key] = _Memory(nothing, dtype)
        return _Memory(memories[key].bytes, dtype)

    def present(saved: Any) -> _Memory:
        dtype, key, _, _ = _storage_id(saved, 6)
        return _Memory(memories[key].bytes, dtype)

    _check_legacy(file)
    start = file.tell()
    Unpickler(file, _names(), absent).load()
    keys = Unpickler(file, {}).load()
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(memories):
        raise pickle.UnpicklingError('the list of its tensors is not that of their memory')
    if sum(memory.bytes.nbytes() for memory in memories.values()) > size - file.tell():
        raise EOFError
    for key in map(str, keys):
        dtype, expected = memories[key].dtype, memories[key].bytes.nbytes()
        (count,) = struct.unpack('<q', file.read(8))
        if count * dtype.itemsize != expected:
            raise pickle.UnpicklingError('the memory of a tensor is of another size')
        memories[key] = _Memory(move(_memory(file, expected), locations[key]), dtype)
    file.seek(start)
    return Unpickler(file, _names(), present).load()


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
