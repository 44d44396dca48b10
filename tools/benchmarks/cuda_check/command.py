"""Shows the CUDA path on a GPU: tests, time and memory, data loading, training; one report.

Called again with the same --out it goes on where it stopped.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import shlex
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from mmseg_faseg.apis import UserError, load_config, one_line_errors
from mmseg_faseg.apis.checks import check_data
from mmseg_faseg.models.ops.deformable_attention.attention import choose_backend

from ..gpus import check_driver, check_gpu, driver_cuda
from ..measure import describe_machine
from ..results import Report, above_zero, at_least, check_folder, table
from .process import ENDING_SECONDS
from .steps import FINISHED, KINDS, MODELS, STOPPED, UNFINISHED, Settings, all_steps

# Seconds left at the end, for a step that does not end at once and for the report.
_RESERVE = ENDING_SECONDS + 5
_PACKAGES = ('mmcv', 'mmcv-lite', 'mmengine', 'mmsegmentation', 'mmdet', 'triton', 'mmseg_faseg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', default='work_dirs/cuda_check', help='folder (default: %(default)s)'
    )
    parser.add_argument(
        '--limit', type=float, default=60, help='minutes for everything (default: %(default)s)'
    )
    parser.add_argument(
        '--train-minutes', type=float, default=10, help='of each model (default: %(default)s)'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='default: 0')
    parser.add_argument('--data-root', help='of CamVid (default: as the configs say)')
    parser.add_argument(
        '--skip', nargs='+', default=[], metavar='STEP', help=f'of {", ".join(KINDS)}'
    )
    parser.add_argument(
        '--device', default='cuda', help='cpu: a dry run with toy models (default: %(default)s)'
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    deadline = time.monotonic() + 60 * args.limit - _RESERVE
    check_arguments(args)
    settings = Settings(
        root=Path(__file__).resolve().parents[3],
        out=Path(args.out).absolute(),
        device=args.device,
        train_minutes=args.train_minutes,
        seeds=tuple(dict.fromkeys(args.seeds)),
        data={} if args.data_root is None else dict(data_root=str(Path(args.data_root).absolute())),
    )
    if not {'loading', 'training'} <= {*args.skip}:
        check_training_data(settings)
    command = shlex.join(['tools/cuda_check.sh', *sys.argv[1:]])
    report = begin(settings, command)
    # Ended from outside, as by a batch system's limit, it ends what it started, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with report.kept_at_interruption():
        check(settings, tuple(args.skip), report, deadline)


def check_arguments(args: argparse.Namespace) -> None:
    """Checks all that can be known at once.

    Raises:
        UserError: An argument is out of range, or the device cannot be used.
    """
    if args.device not in MODELS:
        raise UserError(f'--device must be cuda or cpu, got {args.device}')
    above_zero(limit=args.limit, train_minutes=args.train_minutes)
    at_least(0, seeds=min(args.seeds))
    unknown = [kind for kind in args.skip if kind not in KINDS]
    if unknown:
        raise UserError(f'--skip takes {", ".join(KINDS)}, got {", ".join(unknown)}')
    check_folder(args.out)
    if args.data_root is not None and not Path(args.data_root).is_dir():
        raise UserError(f'--data-root: there is no folder {args.data_root}')
    if args.device == 'cuda':
        check_driver()


def check_training_data(settings: Settings) -> None:
    """Raises UserError unless there are data to train on."""
    cfg = load_config(MODELS[settings.device].training[0], settings.data)
    try:
        check_data(cfg, ['train_dataloader', 'test_dataloader'])
    except UserError as error:
        raise UserError(f'{error} Here: --data-root, or --skip loading training.') from None


def begin(settings: Settings, command: str) -> Report:
    """Writes a report of the machine and of what earlier calls have done.

    Raises:
        UserError: The device cannot be used, or the folder holds results of another machine,
            PyTorch or version. Nothing was written.
    """
    file = settings.out / 'cuda_check.json'
    earlier = _read(file) if file.exists() else {}
    # In a process of its own: what it takes of the GPU's memory goes with it.
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        facts, notes = pool.submit(describe, settings.device).result()
    for key in ('GPU', 'processor', 'PyTorch', 'mmseg_faseg'):
        before = earlier.get('facts', facts).get(key)
        if before != facts.get(key):
            raise UserError(
                f'{file} holds results with {key} {before!r}, now it is {facts.get(key)!r}: give '
                'another --out'
            )
    print(''.join(f'{name}: {value}\n' for name, value in facts.items()), *notes, sep='\n')
    commands = [*earlier.get('commands', []), command]
    steps = earlier.get('steps', {})
    results = dict(device=settings.device, commands=commands, facts=facts, notes=notes, steps=steps)
    report = Report(settings.out, 'cuda_check', markdown, **results)
    report.write()
    return report


def _read(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f'{file} cannot be read ({error}): give another --out') from None
    if not isinstance(results, dict) or 'steps' not in results:
        raise UserError(f'{file} is not of this tool: give another --out')
    return results


def describe(device: str) -> tuple[dict[str, str], list[str]]:
    """Names and values of what the machine is, and notes of a line each.

    Raises:
        UserError: 'cuda' is asked for and cannot be used.
    """
    notes = check_gpu() if device == 'cuda' else []
    facts = describe_machine(device)
    if device == 'cuda':
        facts['driver supports CUDA up to'] = '.'.join(map(str, driver_cuda() or ('unknown',)))
        facts['cuDNN'] = str(torch.backends.cudnn.version())
        facts['PyTorch has code for'] = ' '.join(torch.cuda.get_arch_list())
    facts["back end of FASeg's deformable attention"] = choose_backend('auto', torch.device(device))
    installed = {own.metadata['Name']: own.version for own in importlib.metadata.distributions()}
    facts |= {name: installed.get(name, 'not installed') for name in _PACKAGES}
    return facts, notes


def check(settings: Settings, skip: tuple[str, ...], report: Report, deadline: float) -> None:
    """Does what earlier calls have left to do, until the deadline of the monotonic clock.

    Steps that were stopped or failed come last.

    Raises:
        KeyboardInterrupt: From outside; what there is has been written.
    """
    steps = report.results['steps']
    status = {name: result['status'] for name, result in steps.items()}
    waiting = [
        step
        for step in all_steps(settings)
        if step.name.partition('/')[0] not in skip and status.get(step.name) != FINISHED
    ]
    for step in sorted(waiting, key=lambda step: status.get(step.name) not in (None, UNFINISHED)):
        seconds = min(step.most, deadline - time.monotonic())
        if seconds < step.least:
            print(f'{step.name}: not begun, too little time is left', flush=True)
            continue
        print(f'{step.name}: for {seconds / 60:.1f} minutes at most', flush=True)
        result = step.run(seconds)
        interrupted = result.pop('interrupted', False)
        if result['status'] == STOPPED and (interrupted or seconds < step.most):
            result['status'] = UNFINISHED
        steps[step.name] = result
        report.write()
        if interrupted:
            raise KeyboardInterrupt
        print(f'{step.name}: {result["status"]} {result.get("message", "")}', flush=True)


def markdown(results: dict[str, Any]) -> str:
    """The machine, how each step ended, and what each has to say."""
    title = f'CUDA check: {results["facts"].get("GPU")}'
    if results['device'] == 'cpu':
        title = 'Dry run on a CPU, with toy models: it says nothing about CUDA'
    commands = '\n'.join(results['commands'])
    rows = [
        [
            name,
            result['status'],
            f'{result["seconds"]:.0f}',
            result['log'],
            result.get('message', '').replace('|', '/'),
        ]
        for name, result in results['steps'].items()
    ]
    sections = [
        f'# {title}\n\n```bash\n{commands}\n```\n',
        table(['', ''], [list(fact) for fact in results['facts'].items()]),
        ''.join(f'- {note}\n' for note in results['notes']),
        table(['step', 'ended', 'seconds', 'log', ''], rows),
        *(
            f'## {name}\n\n{result["markdown"]}'
            for name, result in results['steps'].items()
            if 'markdown' in result
        ),
    ]
    return '\n'.join(sections)
