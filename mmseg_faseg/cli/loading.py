"""Options about how a trained model is loaded, which verbs share."""

from typing import Annotated

import typer

Device = Annotated[
    str | None, typer.Option(help='Such as cpu or cuda:1. If absent: a GPU where there is one.')
]
Config = Annotated[
    str | None, typer.Option(help="The model's config, where the checkpoint has none.")
]
Trust = Annotated[
    bool,
    typer.Option(
        '--trust', help="Take the checkpoint's own config as it is written, which can run code."
    ),
]
