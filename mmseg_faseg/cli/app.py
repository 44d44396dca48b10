"""``faseg app``."""

from typing import Annotated

import typer

from .loading import Config, Device, Trust


def app(
    checkpoint: Annotated[
        str, typer.Argument(metavar='CHECKPOINT', help='A checkpoint, or the folder of a run.')
    ],
    host: Annotated[
        str, typer.Option(help='Address to listen on; 0.0.0.0 lets others use the page, too.')
    ] = '127.0.0.1',
    port: Annotated[int, typer.Option(help='Port to listen on.')] = 7860,
    max_megapixels: Annotated[
        float, typer.Option(help='Pictures with more pixels are refused, in millions.')
    ] = 16,
    device: Device = None,
    config: Config = None,
    trust: Trust = False,
) -> None:
    """A page in the browser: give it pictures, see classes, click for what queries look at.

    Only this machine reaches it, it asks no other, and needs no network. It needs the extra `app`.

    - `faseg app runs/street`
    - `faseg app runs/street --host 0.0.0.0 --port 8000 --max-megapixels 4`
    """
    from ..app.serve import serve

    serve(
        checkpoint,
        host,
        port,
        max_megapixels=max_megapixels,
        device=device,
        config=config,
        trust=trust,
    )
