"""Reads files of ``torch.save`` as data, and notices what is damaged.

The directory of such a file (a zip since PyTorch 1.6) is looked at before anything is allocated,
every record is compared with its CRC-32, and a tensor has to lie within its memory. Nothing in the
file can run code; see :mod:`mmseg_faseg.compat.plain_pickles`.
"""

import io
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import UserError
from .legacy_torch_files import read_legacy
from .plain_data import check_plain
from .plain_pickles import Unpickler
from .tensor_pickles import CHUNK, Memory, mover, names_with_tensors, read_memory, storage_id

_ZIP = b'PK\x03\x04'
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
        return _read(file, os.fstat(file.fileno()).st_size, mover(map_location))


def check_torch_file(path: str | Path) -> None:
    """Looks at how a file begins.

    Raises:
        UserError: No file of ``torch.save`` begins so.
    """
    if os.path.getsize(path):  # what is empty is said when it is read
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
    raise UserError(f'{path} is not loaded: {printable(reason)}')


def printable(text: str) -> str:
    """Text without what would start a new line or steer a terminal, and not too much of it."""
    return ''.join(character if character.isprintable() else ' ' for character in text)[:500]


def _read(file: IO[bytes], size: int, move: Callable) -> Any:
    begin = _beginning(file)
    file.seek(0)
    read = _read_zip if begin.startswith(_ZIP) else read_legacy
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


def _read_zip(file: IO[bytes], size: int, move: Callable) -> Any:
    with zipfile.ZipFile(file) as archive:
        records = _records(archive, size)
        unread = dict(records)
        loaded: dict[str, Memory] = {}

        def storage(saved: Any) -> Memory:
            dtype, key, location, count = storage_id(saved, 5)
            name = f'data/{key}'
            if name not in records or records[name].file_size != count * dtype.itemsize:
                raise pickle.UnpicklingError(f'a tensor has no record {name!r} of its size')
            if key not in loaded:
                memory = read_memory(archive.open(unread.pop(name)), records[name].file_size)
                loaded[key] = Memory(move(memory, location), dtype)
            return Memory(loaded[key].bytes, dtype)

        content = io.BytesIO(archive.read(unread.pop('data.pkl')))
        if 'byteorder' in unread and archive.read(unread.pop('byteorder')) != b'little':
            raise pickle.UnpicklingError('its numbers are big-endian')
        value = Unpickler(content, names_with_tensors(), storage).load()
        for record in unread.values():
            with archive.open(record) as rest:
                while rest.read(CHUNK):
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
