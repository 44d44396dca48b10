"""The command line, ``faseg``: a verb per file, each a thin face of :mod:`mmseg_faseg.apis`.

Nothing here imports torch or OpenMMLab before a verb runs: help and completion are there at once.
"""

from collections.abc import Callable

import typer

from ..startup import COMMAND
from ..version import __version__
from .check import check
from .export import export
from .predict import predict
from .train import train
from .verb import Verb

app = typer.Typer(
    name=COMMAND,
    no_args_is_help=True,
    rich_markup_mode='markdown',
    pretty_exceptions_enable=False,
    context_settings=dict(help_option_names=['-h', '--help']),
)


def _version(asked: bool) -> None:
    if asked:
        print(f'mmseg_faseg {__version__}')
        raise typer.Exit()


@app.callback()
def about(
    version: bool = typer.Option(
        False, '--version', callback=_version, is_eager=True, help='Print the version and exit.'
    ),
) -> None:
    """Segmentation from a folder of photos: check, train, predict, explain, report, export.

    Begin with `faseg check photos/ --labels masks/`.
    """


VERBS: tuple[Callable[..., None], ...] = (check, train, predict, export)
for verb in VERBS:
    app.command(cls=Verb)(verb)


def main() -> None:
    """Runs the command line."""
    app(prog_name=COMMAND)
