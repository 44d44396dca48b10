"""Reads pickles as data: nothing that a file names is imported or called.

Python's own unpickler imports what a file names, calls it, and calls methods of what comes out. The
one here knows the instructions that data are written with (protocols 2 to 5); names stand for
functions of ours (:mod:`.pickle_names`). What it returns has still to be looked at as a whole,
by :mod:`mmseg_faseg.compat.plain_data`.
"""

import io
import pickle
import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

from mmengine.logging import HistoryBuffer

from .numpy_pickles import Array, NumberType
from .pickle_names import Name, key_of, refuse, word

_MAX_STEPS = 5_000_000  # a checkpoint of a thousand tensors and their optimizer takes 100,000


class Unpickler:
    """Reads one pickle.

    Args:
        file: Read up to the pickle's end.
        names: What names stand for: functions, which are then called with what the file says and
            have to check it, or values.
        storage: Called with what the file says about a tensor's memory.
    """

    def __init__(
        self, file: IO[bytes], names: Mapping[str, Any], storage: Callable | None = None
    ) -> None:
        self._file = file
        self._names = names
        self._storage = storage
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # stacks below the marks
        self._memo: dict[int, Any] = {}
        self._unfilled: dict[int, list[int]] = {}  # where in the memo arrays are, by their ids

    def load(self) -> Any:
        """What the pickle holds; :func:`.plain_data.check_plain` has still to see it.

        Raises:
            pickle.UnpicklingError: It asks for something else than data.
            Exception: Any other, where bytes are no pickle.
        """
        steps = pickletools.genops(cast(IO[bytes], _Within(self._file)))
        for step, (instruction, argument, _) in enumerate(steps):
            if step > _MAX_STEPS:
                raise pickle.UnpicklingError(f'it takes more than {_MAX_STEPS:,} steps to read')
            name = instruction.name
            if name == 'STOP':
                return self._stack.pop()
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ('PROTO', 'FRAME'):
                raise pickle.UnpicklingError(f'it has the instruction {name}, which no data need')
        raise EOFError

    def _mark(self, _: Any) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _tuple(self, _: Any) -> None:
        items = tuple(self._since_mark())
        self._stack.append(items)

    def _short_tuple(self, length: int) -> None:
        if len(self._stack) < length:
            raise IndexError('the stack is empty')
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _put(self, index: int) -> None:
        self._memo[index] = value = self._stack[-1]
        if type(value) is Array:
            self._unfilled.setdefault(id(value), []).append(index)

    def _memoize(self, _: Any) -> None:
        self._put(len(self._memo))

    def _append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        self._target(list).extend(items)

    def _add_items(self, _: Any) -> None:
        items = self._since_mark()
        self._target(set).update(key_of(item) for item in items)

    def _frozenset(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(frozenset(key_of(item) for item in items))

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._target(dict, OrderedDict, Counter)[key_of(key)] = value

    def _set_items(self, _: Any) -> None:
        items = self._since_mark()
        target = self._target(dict, OrderedDict, Counter)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key_of(key)] = value

    def _target(self, *kinds: type) -> Any:
        if type(self._stack[-1]) not in kinds:
            raise pickle.UnpicklingError(f'adds to a {type(self._stack[-1]).__name__}')
        return self._stack[-1]

    def _global(self, argument: str) -> None:
        self._find('.'.join(argument.split(' ', 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._find(f'{word(module)}.{word(name)}')

    def _find(self, name: str) -> None:
        found = self._names.get(name)
        self._stack.append(Name(name, found) if found is None or callable(found) else found)

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Name) or type(arguments) is not tuple:
            raise pickle.UnpicklingError('calls what is no function')
        if function.function is None:
            refuse(function)
        self._stack.append(function.function(*arguments))

    def _build(self, _: Any) -> None:
        state, built = self._stack.pop(), self._stack[-1]
        if type(built) is OrderedDict:
            _set_metadata(built, state)
        elif type(built) in (HistoryBuffer, Array, NumberType):
            built.__setstate__(state)
        else:
            raise pickle.UnpicklingError(f'sets the state of a {type(built).__name__}')
        if type(built) is Array:
            self._stack[-1] = plain = built.plain()
            for index in self._unfilled.pop(id(built), ()):
                if self._memo[index] is built:
                    self._memo[index] = plain

    def _persistent(self, _: Any) -> None:
        if self._storage is None:
            raise pickle.UnpicklingError('it mentions memory of tensors')
        self._stack.append(self._storage(self._stack.pop()))


class _Within:
    """A file that is asked for no more than it has: reading allocates what it is asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell, self.readline = file.tell, file.readline
        at = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(at)

    def read(self, size: int) -> bytes:
        return self._file.read(size if size < 256 else min(size, self._end - self.tell()))


_VALUES = {
    *('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT'),
    *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'SHORT_BINSTRING', 'BINSTRING'),
    *('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_TUPLE': tuple,
    'EMPTY_LIST': list,
    'EMPTY_DICT': dict,
    'EMPTY_SET': set,
}
_STEPS: dict[str, Callable[[Unpickler, Any], None]] = {
    'MARK': Unpickler._mark,
    'TUPLE': Unpickler._tuple,
    'TUPLE1': lambda self, _: self._short_tuple(1),
    'TUPLE2': lambda self, _: self._short_tuple(2),
    'TUPLE3': lambda self, _: self._short_tuple(3),
    'BINGET': Unpickler._get,
    'LONG_BINGET': Unpickler._get,
    'BINPUT': Unpickler._put,
    'LONG_BINPUT': Unpickler._put,
    'MEMOIZE': Unpickler._memoize,
    'APPEND': Unpickler._append,
    'APPENDS': Unpickler._appends,
    'ADDITEMS': Unpickler._add_items,
    'FROZENSET': Unpickler._frozenset,
    'SETITEM': Unpickler._set_item,
    'SETITEMS': Unpickler._set_items,
    'GLOBAL': Unpickler._global,
    'STACK_GLOBAL': Unpickler._stack_global,
    'REDUCE': Unpickler._reduce,
    'NEWOBJ': Unpickler._reduce,
    'BUILD': Unpickler._build,
    'BINPERSID': Unpickler._persistent,
}


def _set_metadata(weights: OrderedDict, state: Any) -> None:
    """The versions of its modules, which PyTorch keeps beside a dict of weights."""
    metadata = state.get('_metadata') if isinstance(state, dict) and len(state) == 1 else None
    if not isinstance(metadata, dict) or not all(
        isinstance(versions, dict) and all(type(number) is int for number in versions.values())
        for versions in metadata.values()
    ):
        raise pickle.UnpicklingError('an OrderedDict has other attributes than versions of modules')
    weights._metadata = metadata  # type: ignore[attr-defined]
