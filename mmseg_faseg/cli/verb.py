"""How every verb of the command line runs, and how it ends."""

import errno
import sys
from typing import Any

from typer.core import TyperCommand

from ..errors import UserError

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Verb(TyperCommand):
    """Registers everything only once arguments are read, and ends errors of the user in a line.

    An option that takes a list takes all words up to the next option: ``--classes road car``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Says such an option again before each further word, as click has it."""
        lists = {name for one in self.params if getattr(one, 'multiple', 0) for name in one.opts}
        spelled: list[str] = []
        current = None  # the option whose list goes on
        for place, word in enumerate(args):
            if word == '--':
                return super().parse_args(ctx, [*spelled, *args[place:]])
            if word.startswith('-'):
                current = word if word in lists else None
            elif current is not None and args[place - 1] != current:
                spelled.append(current)
            spelled.append(word)
        return super().parse_args(ctx, spelled)

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
