"""``faseg explain``."""

from pathlib import Path
from typing import Annotated

import typer

from .loading import Config, Trust


def explain(
    checkpoint: Annotated[
        str, typer.Argument(metavar='CHECKPOINT', help='A checkpoint, or the folder of a run.')
    ],
    photo: Annotated[Path, typer.Argument(metavar='PHOTO', help='An image of any size.')],
    out: Annotated[Path, typer.Option(help='Folder to write to.')] = Path('explained'),
    queries: Annotated[
        list[int] | None,
        typer.Option(
            metavar='N ...',
            help='Queries to show; if absent, for each class found the one that adds most to it.',
        ),
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar='CHECKPOINT', help='Another model of the same classes, such as a Mask2Former.'
        ),
    ] = None,
    longest: Annotated[
        int, typer.Option(help='Photos with a longer side, in pixels, are made smaller first.')
    ] = 2048,
    config: Config = None,
    trust: Trust = False,
) -> None:
    """Show what a model looks at in a photo, layer by layer.

    Writes a page that holds everything it shows, and its pictures as PNG.

    - `faseg explain runs/street photo.jpg`
    - `faseg explain runs/street photo.jpg --queries 3 17`
    - `faseg explain runs/street photo.jpg --beside runs/mask2former`
    """
    from ..apis.explain import explain as explain_photo

    page, *pictures = explain_photo(
        checkpoint,
        photo,
        out,
        queries=queries or None,
        beside=beside,
        longest=longest,
        config=config,
        trust=trust,
    )
    print(f'page: {page}, and {len(pictures)} pictures beside it')
