"""Measures time and peak memory of two models side by side, on random weights and same inputs."""

import argparse
import shlex
import sys
from pathlib import Path

from mmseg_faseg.apis import UserError, add_options, load_config, one_line_errors
from mmseg_faseg.benchmark import TASKS, Plan, compare
from mmseg_faseg.benchmark.precision import PRECISIONS
from mmseg_faseg.benchmark.report import Report, markdown
from mmseg_faseg.benchmark.subjects import Subject


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        nargs='?',
        default='mmseg_faseg::faseg_swin-t_ade20k.py',
        help='config file, or PACKAGE::NAME.py for an installed one (default: %(default)s)',
    )
    parser.add_argument(
        'other',
        nargs='?',
        default='mmseg_faseg::mask2former_swin-t_ade20k.py',
        help='what it is compared with (default: %(default)s)',
    )
    parser.add_argument(
        '--tasks',
        nargs='+',
        default=['predict', 'train', 'segmentor'],
        metavar='TASK',
        help=f'of {", ".join(TASKS)} (default: predict train segmentor)',
    )
    parser.add_argument(
        '--size', nargs='+', default=['512'], help='pixels, as 512 or 512x1024 (default: 512)'
    )
    parser.add_argument('--batch', type=int, default=1, help='images (default: %(default)s)')
    parser.add_argument('--classes', type=int, help='of both (default: what the configs say)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--repeats', type=int, default=7, help='default: %(default)s')
    parser.add_argument('--no-memory', action='store_true', help='time only')
    parser.add_argument(
        '--precision',
        default='float32',
        help=f'of {", ".join(PRECISIONS)} (default: %(default)s)',
    )
    parser.add_argument('--other-precision', help='of OTHER (default: the same)')
    parser.add_argument(
        '--checkpoint',
        help='weights of CONFIG, and of OTHER where that is the same (default: random)',
    )
    parser.add_argument(
        '--compile-deformable',
        action='store_true',
        help="compile CONFIG's deformable attention, for some ten seconds at the first run",
    )
    parser.add_argument(
        '--cuda-graphs', action='store_true', help="CONFIG's inference as CUDA graphs"
    )
    parser.add_argument(
        '--out', default='work_dirs/benchmark', help='folder (default: %(default)s)'
    )
    add_options(parser)
    return parser.parse_args()


def size_of(text: str) -> tuple[int, int]:
    """Reads 512 or 512x1024."""
    lengths = text.split('x')
    if len(lengths) > 2 or not all(length.isdecimal() for length in lengths):
        raise UserError(f'--size takes numbers such as 512 or 512x1024, got {text!r}')
    return int(lengths[0]), int(lengths[-1])


def pair_of(args: argparse.Namespace) -> tuple[Subject, Subject]:
    """The two models that the arguments name."""
    first = Subject.of(
        load_config(args.config, args.cfg_options),
        args.classes,
        deformable='compiled' if args.compile_deformable else None,
        cuda_graphs=args.cuda_graphs,
    )
    first = first._replace(precision=args.precision, checkpoint=args.checkpoint)
    second = Subject.of(load_config(args.other), args.classes)
    second = second._replace(precision=args.other_precision or args.precision)
    if args.other == args.config:
        second = second._replace(checkpoint=args.checkpoint)
    if second.precision != first.precision:
        first, second = (x._replace(name=f'{x.name}, {x.precision}') for x in (first, second))
    return first, second


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan that the arguments make, checked."""
    if args.classes is not None and args.classes < 1:
        raise UserError(f'--classes must be at least 1, got {args.classes}')
    if args.cuda_graphs and args.device == 'cpu':
        raise UserError('--cuda-graphs needs --device cuda')
    if args.cuda_graphs and not {*args.tasks} <= {'predict', 'segmentor'}:
        raise UserError('--cuda-graphs is for --tasks predict segmentor')
    plan = Plan(
        *pair_of(args),
        args.tasks,
        [size_of(text) for text in args.size],
        args.batch,
        args.device,
        args.threads,
        args.repeats,
        not args.no_memory,
    )
    plan.check()
    return plan


@one_line_errors
def main() -> None:
    args = parse_args()
    plan = plan_of(args)
    report = Report(args.out, shlex.join(['python', *sys.argv]))
    try:
        compare(plan, report)
    except KeyboardInterrupt:
        print(f'\ninterrupted; what was measured so far is in {args.out}', file=sys.stderr)
        sys.exit(130)
    print(f'\n{markdown(report.results)}\n{Path(args.out, "benchmark.md")}, benchmark.json')


if __name__ == '__main__':
    main()
