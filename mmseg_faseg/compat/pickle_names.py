"""What a pickle may mention by name, and the functions of ours that are called for it."""

import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from mmengine.logging import HistoryBuffer

from .numpy_pickles import numpy_names

SCALARS = (str, bytes, bytearray, bool, int, float, complex, type(None))


class Name(NamedTuple):
    """What a pickle mentions by name.

    Attributes:
        name: With its module.
        function: What it stands for here; None if for nothing.
    """

    name: str
    function: Callable | None = None


def history_buffer() -> HistoryBuffer:
    """An empty buffer, whose state follows."""
    return HistoryBuffer.__new__(HistoryBuffer)


HISTORY_BUFFER = f'{HistoryBuffer.__module__}.{HistoryBuffer.__name__}'


def plain_names() -> dict[str, Any]:
    """What data may mention: functions of ours by the names of those they stand in for."""
    python = dict(set=_set, frozenset=_set, complex=_complex, getattr=_attribute)
    return {
        'collections.OrderedDict': _ordered_dict,
        'collections.Counter': _counter,
        '_codecs.encode': _encode,
        HISTORY_BUFFER: history_buffer,
        **{f'{module}.{name}': python[name] for module in _BUILTINS for name in python},
        **numpy_names(),
    }


_BUILTINS = ('builtins', '__builtin__')


def key_of(key: Any) -> Any:
    """A key that cannot be deep: hashing a deep tuple would end the process."""
    if isinstance(key, Name):
        refuse(key)
    parts = key if type(key) is tuple else (key,)
    if not all(type(part) in SCALARS and type(part) is not bytearray for part in parts):
        raise pickle.UnpicklingError(f'a key is a {type(key).__name__} of other than plain values')
    return key


def _ordered_dict(pairs: Any = ()) -> OrderedDict:
    return OrderedDict((key_of(key), value) for key, value in _list(pairs))


def _counter(counts: Any = None) -> Counter:
    if type(counts) is not dict and counts is not None:
        raise pickle.UnpicklingError('a Counter is made of no dict')
    return Counter(counts)


def _set(items: Any = ()) -> set:
    return {key_of(item) for item in _list(items)}


def _list(items: Any) -> Iterable:
    if type(items) not in (list, tuple):
        raise pickle.UnpicklingError(f'a {type(items).__name__} stands where a list belongs')
    return items


def word(value: Any) -> str:
    """A name; anything else may be endless as soon as it is written out."""
    if type(value) is not str:
        raise pickle.UnpicklingError(f'a {type(value).__name__} stands where a name belongs')
    return value


def _complex(real: Any, imaginary: Any) -> complex:
    return complex(float(real), float(imaginary))


def _encode(text: Any, encoding: Any = 'latin1') -> bytes:
    """Stands in for ``codecs.encode``, with which protocol 2 writes bytes."""
    if encoding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError('asks for another codec than latin1')
    return text.encode('latin1')


def _attribute(owner: Any, name: Any) -> Name:
    """Stands in for ``getattr``, with which MMEngine mentions its statistics."""
    if not isinstance(owner, Name) or not (owner.function is None or owner.name == HISTORY_BUFFER):
        raise pickle.UnpicklingError('asks for builtins.getattr')
    return Name(f'{owner.name}.{word(name)}')


def refuse(name: Name) -> NoReturn:
    raise pickle.UnpicklingError(
        f'it asks for {name.name}, but may hold only weights and what MMEngine stores beside them'
    )
