"""How every verb of the command line runs, and how it ends."""

import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

from ..errors import in_one_line


class Verb(TyperCommand):
    """Registers everything only once arguments are read, and ends errors of the user in a line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Lets options take several words: ``--classes other road car``.

        They are those whose value is shown with dots. All words up to the next option are theirs.
        """
        lists = {
            name
            for parameter in self.params
            if str(getattr(parameter, 'metavar', '')).endswith('...')
            for name in parameter.opts
        }
        try:
            return super().parse_args(ctx, list(_repeated(args, lists)))
        except typer.BadParameter as error:  # and what comes of it: a missing one
            taken = [arg for arg in args if arg in lists]
            if type(error) is typer.BadParameter or not taken:
                raise
            text = f'All words after {taken[-1]} are its own: put it last.'
            raise type(error)(text, ctx=error.ctx, param=error.param) from None

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb: 2 is what it exits with after an error, 130 after Ctrl-C."""
        try:
            from .. import registration  # noqa: F401  takes seconds

            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            told = in_one_line(error)
            if told is None:
                raise
            print(told[0], file=sys.stderr, flush=True)
            ctx.exit(told[1])


def _repeated(args: list[str], lists: set[str]) -> Iterator[str]:
    """Puts the option in front of each word that follows it."""
    option, first = None, False
    for place, arg in enumerate(args):
        if arg == '--':
            yield from args[place:]
            return
        if arg.startswith('-') and arg != '-':
            name, is_said, _ = arg.partition('=')
            option, first = (name, not is_said) if name in lists else (None, False)
        elif option is not None and not first:
            yield option
        else:
            first = False
        yield arg
