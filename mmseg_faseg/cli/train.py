"""``faseg train``."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .folders import Images, Labels, Names, Seed, SkipBad, Values, show


def train(
    photos: Images,
    labels: Labels = None,
    classes: Names = None,
    label_values: Values = None,
    val: Annotated[
        str, typer.Option(help='What to validate on: a share, a number, or a file of names.')
    ] = '20%',
    model: Annotated[
        str | None,
        typer.Option(
            help='tiny (ResNet-18, from nothing), small (EfficientNet-Lite0 with ImageNet '
            'weights), or such as faseg_swin-t, mask2former_r18. If absent: small where its '
            'weights are.'
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option('--from', metavar='CHECKPOINT', help='Checkpoint or run to start from.'),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help='Folder of the run; runs/PHOTOS if absent.')
    ] = None,
    skip_bad: SkipBad = False,
    resume: Annotated[
        bool, typer.Option('--resume', help='Go on with the run in --out, as it is configured.')
    ] = False,
    iters: Annotated[int | None, typer.Option(help='Iterations.')] = None,
    batch: Annotated[int | None, typer.Option(help='Crops per iteration.')] = None,
    crop: Annotated[int | None, typer.Option(help='Side of the crops, pixels.')] = None,
    amp: Annotated[bool, typer.Option('--amp', help='Mixed precision.')] = False,
    cfg_options: Annotated[
        list[str] | None,
        typer.Option(
            '--cfg-options',
            metavar='KEY=VALUE ...',
            help='Change other settings of the config, as tools/train.py does, for this call.',
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a model on photos and labels.

    Looks at everything, writes a config beside the run and trains it. What is not said is chosen by
    the data and the machine, and can be changed in the config.

    - `faseg train photos/ --labels masks/ --classes other road car`
    - `faseg train photos/ --labels masks/ --classes background car --model tiny --val 30`
    - `faseg train photos/ --resume` goes on with an interrupted run.
    """
    from ..apis.own_data import check_same, prepare, train_config
    from ..errors import UserError
    from ..own_data.examine import examine

    run = out or str(Path('runs', photos.resolve().name))
    config = Path(f'{run.rstrip("/")}.py')
    again = shlex.join(['faseg', 'train', str(photos), '--out', run, '--resume'])
    if resume and not config.is_file():
        raise UserError(f'--resume: there is no {config}, which the run would have')
    if resume:
        check_same(config, iters=iters, batch_size=batch, crop=crop)
    else:
        if labels is None:
            raise UserError('--labels: a folder of label maps is needed to train on')
        examined = examine(
            str(photos),
            str(labels),
            classes=classes or None,
            label_values=label_values or None,
            val=val,
            skip_bad=skip_bad,
            seed=seed,
        )
        show(examined)
        if not examined.starts:
            raise typer.Exit(1)
        prepared = prepare(
            examined,
            run,
            command=['faseg', *sys.argv[1:]],
            model=model,
            start=start,
            crop=crop,
            batch_size=batch,
            iters=iters,
            seed=seed,
            options=cfg_options,
        )
        chosen = prepared.settings
        print(
            f'{config}: {chosen.model} on {prepared.machine}, {chosen.iters} iterations of '
            f'{chosen.batch_size} crops of {chosen.crop} x {chosen.crop}'
        )
    print(f'Interrupted, it goes on with: {again}', flush=True)
    train_config(config, amp=amp, options=cfg_options)
    print(f'\nThe model is in {run}. Next:')
    print(f'  {shlex.join(["faseg", "predict", run, str(photos), "--out", f"{run}/predictions"])}')
    print(f'  faseg report {shlex.quote(run)}')
