"""``faseg explain``."""

from pathlib import Path

import typer


def explain(
    checkpoint: str = typer.Argument(help='A checkpoint, or the work dir of a run.'),
    image: Path = typer.Argument(help='An image of any size.'),
    out: Path = typer.Option(Path('explained'), help='Folder to write to.'),
    queries: list[int] = typer.Option(
        [],
        help='Show these queries, and not for each class the one that adds most to it.',
    ),
    beside: str = typer.Option(
        None,
        help='Another model with the same classes, such as a Mask2Former, to show beside it.',
    ),
    longest: int = typer.Option(2048, help='Make images with a longer side, in pixels, smaller.'),
    trust: bool = typer.Option(
        False, '--trust', help='Take all of the config in a checkpoint whose origin you know.'
    ),
) -> None:
    """Shows what a model's queries look at in a photo, layer by layer.

    Writes one HTML page that holds all it shows, and its pictures as PNG.

        faseg explain runs/street photo.jpg
        faseg explain runs/street photo.jpg --queries 3 --queries 17 --out explained/
        faseg explain runs/street photo.jpg --beside runs/mask2former
    """
    from ..apis.explain import explain as explain_image

    files = explain_image(
        checkpoint,
        image,
        out,
        queries=queries or None,
        beside=beside,
        longest=longest,
        trust=trust,
    )
    print(f'{files[0]}: the page, and {len(files) - 1} pictures beside it')
