"""Measures how time and memory of two models grow with input, queries, classes and batch."""

import argparse
import sys
from pathlib import Path

from mmseg_faseg.apis import UserError, load_config, one_line_errors
from mmseg_faseg.benchmark.axes import AXES, growth_exponents
from mmseg_faseg.benchmark.comparison import check_device, check_sizes
from mmseg_faseg.benchmark.scaling import Scan, scan
from mmseg_faseg.benchmark.subjects import Subject


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs',
        nargs='*',
        default=[
            'mmseg_faseg::faseg_swin-t_ade20k.py',
            'mmseg_faseg::mask2former_swin-t_ade20k.py',
        ],
        help='configs of the models (default: %(default)s)',
    )
    for axis, values in AXES.items():
        default = ' '.join(map(str, values))
        parser.add_argument(
            f'--{axis}',
            nargs='*',
            type=int,
            default=values,
            help=f'default: {default}; none leaves the axis out',
        )
    parser.add_argument(
        '--task', default='predict', help='predict or segmentor (default: %(default)s)'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--repeats', type=int, default=3, help='default: %(default)s')
    parser.add_argument(
        '--budget',
        type=float,
        default=120.0,
        help='seconds that the runs of a model at a point may take (default: %(default)s)',
    )
    parser.add_argument('--out', default='work_dirs/scaling', help='folder (default: %(default)s)')
    return parser.parse_args()


def scan_of(args: argparse.Namespace) -> Scan:
    """What the arguments ask for, checked."""
    if args.task not in ('predict', 'segmentor'):
        raise UserError(f'--task must be predict or segmentor, got {args.task}')
    axes = {axis: getattr(args, axis) for axis in AXES if getattr(args, axis)}
    if not axes:
        raise UserError('no axis is left to measure')
    for name, values in {**axes, 'threads': [args.threads], 'repeats': [args.repeats]}.items():
        if min(values) < 1:
            raise UserError(f'--{name} must be at least 1, got {min(values)}')
    check_sizes([(side, side) for side in axes.get('side', ())], '--side')
    if not args.budget > 0:
        raise UserError(f'--budget must be more than 0 seconds, got {args.budget:g}')
    check_device(args.device)
    configs = [load_config(name) for name in args.configs]
    names = [Subject.of(cfg).name for cfg in configs]
    if len(set(names)) < len(names):
        raise UserError(f'configs must differ in their file names, got {", ".join(names)}')
    return Scan(configs, axes, args.task, args.device, args.threads, args.repeats, args.budget)


@one_line_errors
def main() -> None:
    args = parse_args()
    plan = scan_of(args)
    try:
        rows = scan(plan, args.out)
    except KeyboardInterrupt:
        print(f'\ninterrupted; what was measured so far is in {args.out}', file=sys.stderr)
        sys.exit(130)
    print('\nGrowth between the two largest points, as a power of the axis:')
    for axis in plan.axes:
        for quantity in ('seconds', 'bytes', 'flops'):
            powers = growth_exponents(rows, axis, quantity)
            text = ', '.join(f'{name} {power:.2f}' for name, power in powers.items())
            print(f'{axis}, {quantity}: {text}')
    print(f'{Path(args.out)}/scaling.csv, scaling.json, scaling.png')


if __name__ == '__main__':
    main()
