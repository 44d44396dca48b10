"""Files that were made to do harm, and files that came to harm.

``python -m tests.security.hostile FOLDER`` writes them, to try other readers with.
"""

import io
import os
import pickle
import pickletools
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

MARK = 'it_ran'


class Call:
    """Pickles as the call of a function, which unpickling would make."""

    def __init__(self, function: Callable, *arguments: object, state: object = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.call


def sound() -> dict:
    """What a small checkpoint holds."""
    return dict(
        state_dict=dict(weight=torch.arange(64.0), bias=torch.ones(2)),
        meta=dict(iter=2, palette=np.arange(6, dtype=np.uint8)),
    )


def saved(value: object, **kwargs: object) -> bytes:
    """What ``torch.save`` writes of it."""
    file = io.BytesIO()
    torch.save(value, file, **kwargs)
    return file.getvalue()


def rezipped(
    content: bytes, change: Callable[[str, bytes], bytes | None], compression: int = 0
) -> bytes:
    """A zip file whose records were changed, or left out, with checksums that fit."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, 'w', compression) as new:
        for info in old.infolist():
            data = change(info.filename.partition('/')[2], old.read(info))
            if data is not None:
                new.writestr(info.filename, data)
    return out.getvalue()


def with_pickle(data: bytes) -> bytes:
    """A checkpoint whose pickle is another."""
    return rezipped(saved(sound()), lambda name, old: data if name == 'data.pkl' else old)


def tensor_pickle(count: int, offset: int, shape: tuple, stride: tuple, key: str = '0') -> bytes:
    """A pickle of one tensor that says anything about itself."""

    def integer(value: int) -> bytes:
        data = pickle.encode_long(value) or b'\0'
        return b'\x8a' + bytes([len(data)]) + data

    def word(text: str) -> bytes:
        return b'X' + struct.pack('<I', len(text)) + text.encode()

    def sizes(values: tuple) -> bytes:
        return b'(' + b''.join(map(integer, values)) + b't'

    memory = b'(' + word('storage') + b'ctorch\nFloatStorage\n' + word(key) + word('cpu')
    memory += integer(count) + b'tQ'
    arguments = b'(' + memory + integer(offset) + sizes(shape) + sizes(stride)
    arguments += b'\x89ccollections\nOrderedDict\n)Rt'
    weights = b'}' + word('w') + b'ctorch._utils\n_rebuild_tensor_v2\n' + arguments + b'Rs'
    return b'\x80\x02}' + word('state_dict') + weights + b's.'


def array_pickle(code: str, shape: object, data: bytes, order: str = '<', extra=()) -> bytes:
    """A pickle of one numpy array that says anything about itself."""
    rebuild = np.zeros(1).__reduce__()[0]
    dtype = Call(np.dtype, code, False, True, state=(3, order, None, None, None, -1, -1, 0, *extra))
    array = Call(rebuild, np.ndarray, (0,), b'b', state=(1, shape, dtype, False, data))
    return pickle.dumps(dict(model=dict(w=array), state_dict={}), 2)


def deep(depth: int, opening: bytes = b']', closing: bytes = b'a') -> bytes:
    """A pickle of lists in lists."""
    return b'\x80\x02' + opening * depth + closing * (depth - 1) + b'.'


def laughs(levels: int) -> bytes:
    """A pickle of a list of ten times the same list of ten times ... ."""
    body = b''.join(
        b']q' + bytes([i]) + b'(' + (b'h' + bytes([max(i - 1, 0)])) * 10 * (i > 0) + b'e'
        for i in range(levels)
    )
    return b'\x80\x02' + body + b'.'


def nested(levels: int) -> list:
    """What :func:`laughs` pickles: small as long as nobody writes it out or compares it."""
    value: list = []
    for _ in range(levels):
        value = [value] * 10
    return value


def laughing_names() -> dict[str, bytes]:
    """Such a list in the place of a name."""
    body, last = laughs(8)[2:-1], b'h\x07'
    axes = (np.zeros((2, 2), order='F').__reduce_ex__(5)[0], bytearray(8), np.dtype('f8'), ())
    return {
        'laughing module': b'\x80\x04' + body + b'\x8c\x01x\x93.',
        'laughing name': b'\x80\x04\x8c\x01x' + body + b'\x93.',
        'laughing attribute': b'\x80\x02'
        + body
        + b'cbuiltins\ngetattr\ncnumpy\nx\n'
        + last
        + b'\x86R.',
        'laughing device': b'\x80\x02' + body + b'ctorch\ndevice\n' + last + b'\x85R.',
        'laughing axes': pickle.dumps(Call(*axes, 'K', (nested(12), nested(12))), 5),
    }


def scalar_pickle() -> bytes:
    """A numpy scalar whose type claims another size than its bytes have."""
    dtype = Call(np.dtype, 'V8', False, True, state=(3, '|', None, None, None, -8, 1, 0))
    return pickle.dumps(dict(w=Call(np.float64(0).__reduce__()[0], dtype, b'')), 2)


def pickle_steps(data: bytes) -> Iterator[tuple]:
    """Instructions of a pickle, with their arguments and places."""
    return pickletools.genops(data)


def run_code() -> dict[str, bytes]:
    """Pickles that call something."""
    touch = f'touch {MARK}'
    calls = dict(
        system=Call(os.system, touch),
        evaluated=Call(eval, f'open({MARK!r}, "w")'),
        opened=Call(open, MARK, 'w'),
        attribute=Call(getattr, np.ndarray, 'tofile'),
        loaded=Call(torch.load, 'x.pth'),
        fromfile=Call(np.fromfile, '/etc/hostname'),
        memmap=Call(np.memmap, MARK, 'u1', 'w+', 0, (4,)),
        empty=Call(torch.empty, 2**45),
        array=Call(bytearray, 2**45),
        text=Call(str, b'x', 'idna'),
    )
    return {name: pickle.dumps(dict(state_dict={}, meta=call), 2) for name, call in calls.items()}


def pickles() -> dict[str, bytes]:
    """Pickles that do harm, for checkpoints and for the converter's ``.pkl`` files."""
    eight = b'\0' * 8
    return {
        **run_code(),
        'object array': array_pickle('O8', (1,), eight, '|'),
        'larger array': array_pickle('f8', (2**40,), eight),
        'negative array': array_pickle('f8', (-1,), eight),
        'void array': array_pickle('V8', (1,), eight, '|'),
        'array of words': array_pickle('U2', (1,), eight),
        'array of dates': array_pickle('M8', (1,), eight),
        'raw array': pickle.dumps(dict(w=Call(np.ndarray, (4,), 'O', b'\1' * 64)), 2),
        'offset': pickle.dumps(dict(w=Call(np.ndarray, (4,), 'u1', b'1234', -4096)), 2),
        'scalar': scalar_pickle(),
        'deep': deep(100_000),
        'deep tuples': deep(100_000, b')', b'\x86'),
        'laughs': laughs(12),
        **laughing_names(),
        'cycle': b'\x80\x02]q\0h\0a.',
        'memo': b'\x80\x02Nr\xff\xff\xff\xff.',
        'long': b'\x80\x02\x8b\xff\xff\xff\x7f.',
        'word': b'\x80\x04\x8d' + struct.pack('<Q', 2**62) + b'.',
        'bytes': b'\x80\x05\x96' + struct.pack('<Q', 2**62) + b'.',
        'no stack': b'\x80\x02R.',
        'no mark': b'\x80\x02t.',
        'build': b'\x80\x02]}b.',
        'cut': b'\x80\x02}(X\x05\0\0\0',
        'nothing': b'',
        'persistent': b'\x80\x02X\x01\0\0\0aQ.',
        'a text': pickle.dumps('text', 2),
        'codec': pickle.dumps(dict(w=Call(__import__('codecs').encode, 'x', 'zlib')), 2),
    }


def tensors() -> dict[str, bytes]:
    """Tensors that lie beyond their memory."""
    claims = {
        'larger memory': (2**40, 0, (4,), (1,)),
        'larger tensor': (64, 0, (2**40,), (1,)),
        'offset': (64, 60, (8,), (1,)),
        'negative offset': (64, -8, (8,), (1,)),
        'negative stride': (64, 8, (8,), (-1,)),
        'negative size': (64, 0, (-8,), (1,)),
        'overflow': (64, 0, (2**62, 2**62), (4, 4)),
        'strides': (64, 0, (2, 2), (2**62, 1)),
        'expanded': (64, 0, (2**40,), (0,)),
        'no record': (64, 0, (4,), (1,), '9'),
        'path': (64, 0, (4,), (1,), '../data.pkl'),
    }
    return {f'tensor of {name}': tensor_pickle(*claim) for name, claim in claims.items()}


def damaged() -> Iterator[tuple[str, bytes]]:
    """A sound checkpoint, damaged or packed in ways that ``torch.save`` does not."""
    whole = saved(sound())
    weights = torch.arange(64.0).numpy().tobytes()
    at = whole.index(weights) + 40
    yield 'flipped', whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:  # a record in which no tensor lies
        at = whole.index(archive.read('archive/.data/serialization_id'))
    yield 'flipped beside', whole[:at] + b'x' + whole[at + 1 :]
    for tenth in range(10):
        yield f'torn at {tenth}0 %', whole[: len(whole) * tenth // 10]
    yield 'zeroed', b'\0' * len(whole)
    yield 'zeroed end', whole[: len(whole) // 2] + b'\0' * (len(whole) // 2)
    yield 'inflated', rezipped(whole, lambda name, old: old, zipfile.ZIP_DEFLATED)
    bomb = rezipped(
        whole, lambda name, old: bytes(10**7) if name == 'data/0' else old, zipfile.ZIP_DEFLATED
    )
    yield 'bomb', bomb
    yield 'no pickle', rezipped(whole, lambda name, old: None if name == 'data.pkl' else old)
    yield 'no weights', rezipped(whole, lambda name, old: None if name == 'data/0' else old)
    yield 'big-endian', rezipped(whole, lambda name, old: b'big' if name == 'byteorder' else old)
    twice = io.BytesIO(whole)
    with zipfile.ZipFile(twice, 'a') as archive:
        archive.writestr('archive/data/0', weights)
    yield 'twice', twice.getvalue()
    legacy = saved(sound(), _use_new_zipfile_serialization=False)
    yield 'torn legacy', legacy[:-20]
    before = [0x1950A86A20F9469CFC6C, 1001, {}, {}]
    yield 'laughing keys', b''.join(pickle.dumps(v, 2) for v in before) + laughs(8)
    yield 'legacy call', pickle.dumps(Call(os.system, f'touch {MARK}'), 2)


def of_another_kind() -> Iterator[tuple[str, bytes]]:
    """Files that are no checkpoints."""
    tar, plain, script = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('storages'), io.BytesIO())
    with zipfile.ZipFile(plain, 'w') as archive:
        archive.writestr('a/b.txt', 'text')
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.ones(1, 1)), script)
    yield 'tar', tar.getvalue()
    yield 'zip', plain.getvalue()
    yield 'TorchScript', script.getvalue()
    yield 'html', b'<!DOCTYPE html><html>404</html>'
    yield 'png', b'\x89PNG\r\n\x1a\n' + bytes(100)
    yield 'empty', b''
    yield 'gzip', b'\x1f\x8b' + zlib.compress(b'x')
    yield 'a pickle of a text', pickle.dumps('text')


def corpus() -> Iterator[tuple[str, bytes]]:
    """Names with suffixes, and contents; every one has to be refused."""
    for name, data in {**pickles(), **tensors()}.items():
        yield f'{name}.pth', with_pickle(data)
    for name, data in pickles().items():
        yield f'{name}.pkl', data
    for name, data in (*damaged(), *of_another_kind()):
        yield f'{name}.pth', data
    for name, data in of_another_kind():
        yield f'{name}.safetensors', data


def write(folder: str | Path) -> None:
    """Writes all of them to a folder."""
    for name, data in corpus():
        Path(folder, name).write_bytes(data)


if __name__ == '__main__':
    write(sys.argv[1])
