"""Errors that a user can mend get one line on stderr; all others keep their trace."""

import difflib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

_WHOLE = 'what was written is whole'
_REPEAT = 'repeat the command, with --resume where it has that'
_ROOM = f'make room and {_REPEAT}'
_ELSEWHERE = 'name another place, or change who may use this one'
_HOW_TO_GO_ON = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
}


class UserError(ValueError):
    """Something about arguments, config or files that the user has to change."""


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like ``name``; None if none has at least ``cutoff`` of it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message about an unknown name; empty if no known one is like it."""
    meant = closest(name, known, cutoff)
    return f', did you mean {meant!r}?' if meant else ''


def in_one_line(error: BaseException) -> tuple[str, int] | None:
    """What a user is told of an error, and what the program exits with.

    Returns:
        None for an error of the program, which keeps its trace. Otherwise a line, and 2, or 130 as
        shells count after Ctrl-C.
    """
    if isinstance(error, UserError):
        return f'error: {error}', 2
    if isinstance(error, KeyboardInterrupt):
        return f'stopped: {_WHOLE}; to go on, {_REPEAT}', 130
    if isinstance(error, OSError) and error.errno in _HOW_TO_GO_ON:
        where = f'{error.filename}: ' if error.filename else ''
        return f'error: {where}{reason_of(error)}; {_WHOLE}', 2
    return None


def reason_of(error: OSError | RuntimeError) -> str:
    """Why a file cannot be used, and how to go on from there where that can be said."""
    if isinstance(error, OSError) and error.strerror:
        how = _HOW_TO_GO_ON.get(error.errno or 0)
        return error.strerror + (f': {how}' if how else '')
    if isinstance(error, RuntimeError) and is_of_torch_writer(error):  # which says no more
        return f'PyTorch could not write all of it, as on a full disk: {_ROOM}'
    return str(error).partition('\n')[0]


def is_of_torch_writer(error: RuntimeError) -> bool:
    """Whether PyTorch could not write a file, rather than compute something."""
    return 'inline_container' in str(error)


def one_line_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Decorates what a tool does: ends what a user can mend in a line, as :func:`in_one_line` says.

    Of several processes on a machine the first one speaks, since all meet the same error.
    """

    @functools.wraps(main)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            main(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            told = in_one_line(error)
            if told is None:
                raise
            if int(os.environ.get('LOCAL_RANK', 0)) == 0:
                print(told[0], file=sys.stderr, flush=True)
            sys.exit(told[1])

    return wrapper
