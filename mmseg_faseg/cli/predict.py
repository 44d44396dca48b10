"""``faseg predict``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .loading import Config, Device, Trust


def predict(
    model: Annotated[str, typer.Argument(help='Checkpoint, or the folder of a run.')],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, videos, folders, patterns in quotes; '-': a list on standard input."
        ),
    ],
    out: Annotated[Path, typer.Option(help='Folder to write to.')],
    areas: Annotated[
        list[Path] | None,
        typer.Option(
            metavar='FILE',
            help='Table (.csv or .json) of the share, pixels and mean probability of each class '
            'in each input. Can be given twice.',
        ),
    ] = None,
    overlays: Annotated[str, typer.Option(help='Format of overlays: jpg, png or none.')] = 'jpg',
    resume: Annotated[bool, typer.Option('--resume', help='Leave out what is done.')] = False,
    tile: Annotated[
        int | None,
        typer.Option(help='Cut larger images into tiles of this side, in pixels, and blend them.'),
    ] = None,
    overlap: Annotated[float, typer.Option(help='Of tiles, as a share of their side.')] = 0.25,
    tta: Annotated[
        bool, typer.Option('--tta', help='Average over sizes and mirror images; slower.')
    ] = False,
    amp: Annotated[bool, typer.Option('--amp', help='Half precision.')] = False,
    batch: Annotated[int, typer.Option(help='Images, tiles or frames at a time.')] = 1,
    device: Device = None,
    config: Config = None,
    trust: Trust = False,
) -> None:
    """Predict images and videos with a trained model.

    Writes label maps to `OUT/labels` (PNG, the number of each pixel's class, with a palette) and
    pictures with a legend to `OUT/overlays`, under the inputs' own names. What is no image is left
    out and a broken file stops nothing; both are listed. Exits with 0 if all is well, 1 if a file
    failed, 2 if the command is wrong or results cannot be written.

    - `faseg predict runs/street photos/ --out out/`
    - `faseg predict runs/street photos/ big.tif drive.mp4 --out out/ --areas areas.csv`
    - `faseg predict runs/street map.tif --out out/ --tile 1024`
    - `find . -name '*.jpg' | faseg predict runs/street - --out out/ --resume`
    """
    from ..apis.predict import predict as run

    outcome = run(
        model,
        inputs,
        out,
        areas=areas or (),
        overlays=overlays,
        resume=resume,
        tile=tile,
        overlap=overlap,
        tta=tta,
        amp=amp,
        batch_size=batch,
        device=device,
        config=config,
        trust=trust,
    )
    for file in outcome.skipped:
        print(f'skipped, neither image nor video by its name: {file}', file=sys.stderr)
    done = f'{outcome.done} predicted'
    if outcome.resumed:
        done += f', {outcome.resumed} done before'
    print(f'{done}, {len(outcome.skipped)} skipped, {len(outcome.failed)} failed: {out}')
    if outcome.failed:
        raise typer.Exit(1)
