"""Arguments about folders of photos and labels, and how what was found there is shown."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..own_data.examine import Examined

_SHOWN = 10  # findings of one kind

Images = Annotated[Path, typer.Argument(metavar='PHOTOS', help='Folder of photos.')]
Labels = Annotated[
    Path | None,
    typer.Option(
        help='Folder of label maps: PNG files, named as their photos, one class number per pixel.'
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        metavar='NAME ...',
        help='Names of classes, in the order of their numbers; else those in classes.txt beside '
        'the label maps.',
    ),
]
Values = Annotated[
    list[int] | None,
    typer.Option(
        metavar='N ...',
        help='The value of each class in label maps, where that is not its number: 0 128 255.',
    ),
]
SkipBad = Annotated[bool, typer.Option('--skip-bad', help='Leave out files that are bad.')]
Seed = Annotated[int, typer.Option(help='Of everything that is drawn.')]


def show(examined: Examined) -> None:
    """Prints what was found, on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..own_data import summary

    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(summary.summary(examined)))
    rows = summary.class_rows(examined)
    if rows:
        table = Table(box=None, pad_edge=False)
        for heading, side in (('class', 'left'), ('value', 'right'), ('images', 'right')):
            table.add_column(heading, justify=side)  # type: ignore[arg-type]
        table.add_column('share of pixels', justify='left')
        for row in rows:
            bar = '█' * round(30 * row.share)
            share = Text(f'{100 * row.share:6.2f} % ').append(bar, style=row.colour)
            table.add_row(Text(row.name), str(row.value), str(row.images), share)
        console.print(table)
    shown: Counter[str] = Counter()
    for finding in examined.findings:
        shown[finding.check] += 1
        if shown[finding.check] > _SHOWN:
            continue
        mark = Text('stops', style='bold red') if finding.stops else Text('note ', style='yellow')
        console.print(mark.append(f'  {finding.text}', style='not bold default'))
        for file in finding.files[1:4]:
            console.print(Text(f'         {file}', style='dim'))
        if finding.files[4:]:
            console.print(Text(f'         and {len(finding.files) - 4} more', style='dim'))
        if finding.mend:
            console.print(Text(f'       → {finding.mend}', style='cyan'))
    for check, count in shown.items():
        if count > _SHOWN:
            console.print(f'       and {count - _SHOWN} more findings of {check}')
    style = 'bold red' if examined.stops else 'bold green'
    console.print(Text(summary.verdict(examined), style=style))
    sys.stdout.flush()
