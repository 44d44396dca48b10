"""How every verb of the command line runs, and how it ends."""

import errno
import sys
from typing import Any

from typer.core import TyperCommand

from ..errors import UserError

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Verb(TyperCommand):
    """Registers everything only once arguments are read, and ends errors of the user in a line."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb: 2 is what it exits with after an error, 130 after Ctrl-C."""
        try:
            from .. import registration  # noqa: F401  takes seconds

            return super().invoke(ctx)
        except UserError as error:
            _say(f'error: {error}')
            ctx.exit(2)
        except KeyboardInterrupt:
            _say('stopped: what was written is whole; the same command goes on or begins anew')
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            where = f'{error.filename}: ' if error.filename else ''
            _say(f'error: {where}{error.strerror}; what was written before is whole')
            ctx.exit(2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
