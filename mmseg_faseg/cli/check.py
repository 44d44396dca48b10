"""``faseg check``."""

from pathlib import Path
from typing import Annotated

import typer

from .folders import Images, Labels, Names, Seed, SkipBad, Values, show


def check(
    photos: Images,
    labels: Labels = None,
    classes: Names = None,
    label_values: Values = None,
    val: Annotated[
        str,
        typer.Option(help='What would be validated on: a share, a number, or a file of names.'),
    ] = '20%',
    skip_bad: SkipBad = False,
    seed: Seed = 0,
    html: Annotated[
        Path | None, typer.Option(help='Page to write; PHOTOS-check.html in this folder if absent.')
    ] = None,
) -> None:
    """Look at photos and labels: what is wrong, what is in them, what to do.

    Decodes everything. The exit status is 0 if training, or predicting, would start, else 1.

    - `faseg check photos/ --labels masks/`
    - `faseg check photos/ --labels masks/ --classes other road car`
    - `faseg check photos/` looks at photos that are to be predicted.
    """
    from ..files import check_output
    from ..own_data.examine import examine
    from ..own_data.summary import save_page

    page = html or Path(f'{photos.resolve().name}-check.html')
    check_output(page, '.html')
    examined = examine(
        str(photos),
        None if labels is None else str(labels),
        classes=classes or None,
        label_values=label_values or None,
        val=val,
        skip_bad=skip_bad,
        seed=seed,
    )
    show(examined)
    save_page(examined, page)
    print(f'page: {page}')
    if examined.stops:
        raise typer.Exit(1)
