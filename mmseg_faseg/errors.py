"""Errors that a user can mend get one line on stderr; all others keep their trace."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any


class UserError(ValueError):
    """Something about arguments, config or files that the user has to change."""


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
