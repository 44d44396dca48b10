"""Errors that a user can mend get one line on stderr; all others keep their trace."""

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any


class UserError(ValueError):
    """Something about arguments, config or files that the user has to change."""


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like ``name``; None if none has at least ``cutoff`` of it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message about an unknown name; empty if no known one is like it."""
    meant = closest(name, known, cutoff)
    return f', did you mean {meant!r}?' if meant else ''


def one_line_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Decorates what a tool does: prints a ``UserError`` as ``error: ...`` and exits with 2.

    Of several processes on a machine the first one speaks, since all meet the same error.
    """

    @functools.wraps(main)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            if int(os.environ.get('LOCAL_RANK', 0)) == 0:
                print(f'error: {error}', file=sys.stderr)
            sys.exit(2)

    return wrapper
