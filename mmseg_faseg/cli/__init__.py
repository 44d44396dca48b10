"""The command line, ``faseg``: a verb per file, each a thin face of :mod:`mmseg_faseg.apis`.

Nothing here imports torch or OpenMMLab before a verb runs: help and completion are there at once.
"""

import io
import sys
from collections.abc import Callable

import typer

from ..startup import COMMAND
from ..version import __version__
from .app import app as app_verb
from .check import check
from .convert import convert
from .explain import explain
from .export import export
from .predict import predict
from .report import report
from .train import train
from .verb import Verb
from .weights import weights

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
    """Segmentation from a folder of photos.

    - `faseg check photos/ --labels masks/ --classes other road car`
    - `faseg train photos/ --labels masks/ --classes other road car`
    - `faseg predict runs/photos photos/ --out out/`
    - `faseg explain runs/photos photo.jpg`
    - `faseg VERB --help` has more examples.
    """


VERBS: tuple[Callable[..., None], ...] = (
    check,
    convert,
    train,
    predict,
    explain,
    report,
    export,
    app_verb,
    weights,
)
for verb in VERBS:
    app.command(cls=Verb)(verb)


def main() -> None:
    """Runs the command line."""
    for stream in (sys.stdout, sys.stderr):  # names of files may be in no encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    app(prog_name=COMMAND)
