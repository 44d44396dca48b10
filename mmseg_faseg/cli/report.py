"""``faseg report``: what a run came to, as one page."""

from pathlib import Path
from typing import Annotated

import typer

from .loading import Trust


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar='RUN', help='Work dirs, or checkpoints in them.'),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help='The HTML file to write; report.html in the work dir of the run if left out, '
            'comparison.html in that of the first of several.'
        ),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(help='Look at so many images of each part of the data only.')
    ] = None,
    data_root: Annotated[
        str | None, typer.Option(help='Where the data are now, if not where the config says.')
    ] = None,
    trust: Trust = False,
) -> None:
    """Write an HTML page about a run, or about several beside each other.

    Curves, IoU of classes, at boundaries and by size, confusions, the worst and best images,
    data, config and environment; pictures are in the page, which can be mailed as it is. The test
    set is predicted once, with the best checkpoint of the run or else its newest.

    * `faseg report runs/street` writes `runs/street/report.html`

    * `faseg report runs/street runs/other --out comparison.html` compares two runs

    * `faseg report runs/street/iter_500.pth runs/street` compares a checkpoint with the best one

    * `faseg report runs/street --max-images 50` for a first look
    """
    from ..apis.report import report as write

    print(write(runs, out, max_images=max_images, data_root=data_root, trust=trust))
