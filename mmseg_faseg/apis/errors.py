"""Errors that a user can mend get one line on stderr; all others keep their trace."""

import functools
import os
import sys
from collections.abc import Callable

from ..engine.checkpoint_check import CheckpointMismatchError
from ..engine.data_check import DataMismatchError


class UserError(ValueError):
    """Something about arguments, config or files that the user has to change."""


def one_line_errors(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a tool's ``main``: prints expected errors as ``error: ...`` and exits with 2.

    Of several processes on a machine the first one speaks, since all meet the same error.
    """

    @functools.wraps(main)
    def wrapper() -> None:
        try:
            main()
        except (UserError, CheckpointMismatchError, DataMismatchError) as error:
            if int(os.environ.get('LOCAL_RANK', 0)) == 0:
                print(f'error: {error}', file=sys.stderr)
            sys.exit(2)

    return wrapper
