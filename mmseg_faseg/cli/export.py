"""``faseg export``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .loading import Config, Trust


def export(
    model: Annotated[str, typer.Argument(help='Checkpoint, or the folder of a run.')],
    target: Annotated[Path, typer.Argument(help='File to write: .onnx, .pt2 or .xml.')],
    scores: Annotated[
        bool, typer.Option('--scores', help='Have the file give class scores too.')
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(metavar='HxW', help='Of the pictures that the file takes. If absent: all.'),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help='Picture or folder to check with. If absent: the test data.'),
    ] = None,
    int8: Annotated[
        bool, typer.Option('--int8', help='Linear layers in whole numbers (.onnx).')
    ] = False,
    fp16: Annotated[bool, typer.Option('--fp16', help='Half precision (.onnx, .xml).')] = False,
    config: Config = None,
    trust: Trust = False,
) -> None:
    """Write a trained model as a file that runs without this package.

    The file takes a picture, (1, 3, H, W) RGB as bytes, and gives its class map, (1, H, W). It is
    compared with the model in PyTorch, and nothing is written if they differ in more than 0.1 % of
    the pixels of a picture (1 % with --fp16, 5 % with --int8).

    - `faseg export runs/street model.onnx`
    - `faseg export runs/street model.onnx --images photos/ --int8`
    - `faseg export runs/street model.xml --size 360x480`
    - `faseg export runs/street model.pt2 --scores`
    """
    from ..apis.export import export as run
    from ..errors import UserError

    if int8 and fp16:
        raise UserError('--int8 and --fp16: choose one')
    print(f'exporting {model} to {target}: this takes a minute or more', flush=True)
    precision = 'int8' if int8 else 'fp16' if fp16 else 'fp32'
    done = run(
        model,
        target,
        scores=scores,
        size=size,
        precision=precision,
        images=images,
        config=config,
        trust=trust,
    )
    for reason in done.unreadable:
        print(f'left out: {reason}', file=sys.stderr)
    for kind, agreement in done.agreement.items():
        print(
            f'{agreement.pictures} {kind} pictures: {agreement.equal:.4%} of the pixels equal '
            f'(least {agreement.worst:.4%}), largest score difference '
            f'{agreement.score_difference:.1e}'
        )
    eager, exported = (1000 * seconds for seconds in done.seconds)
    height, width = done.timed
    print(
        f'{height} x {width}: PyTorch {eager:.0f} ms, {target.suffix} {exported:.0f} ms (medians)'
    )
    for file in done.files:
        print(f'{file}: {file.stat().st_size / 2**20:.1f} MiB')
