"""How every verb of the command line runs, and how it ends."""

import errno
import sys
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

from ..errors import UserError

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Verb(TyperCommand):
    """Registers everything only once arguments are read, and ends errors of the user in a line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Lets an option that may be repeated take several words: ``--classes other road car``."""
        lists = {
            name
            for parameter in self.params
            if getattr(parameter, 'multiple', False)
            for name in parameter.opts
        }
        return super().parse_args(ctx, list(_repeated(args, lists)))

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


def _repeated(args: list[str], lists: set[str]) -> Iterator[str]:
    """Puts the option in front of each word that follows it."""
    option, first = None, False
    for place, arg in enumerate(args):
        if arg == '--':
            yield from args[place:]
            return
        if arg.startswith('-') and arg != '-':
            option, first = (arg, True) if arg in lists else (None, False)
        elif option is not None and not first:
            yield option
        else:
            first = False
        yield arg


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
