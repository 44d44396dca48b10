"""Shows the CUDA path on a GPU: tests, time and memory, data loading, training; one report.

Called again with the same --out it goes on where it stopped.
"""

import argparse
import shlex
import signal
import sys
from pathlib import Path

from mmseg_faseg.apis import one_line_errors
from mmseg_faseg.cuda_check import KINDS, Settings, check


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
        '--train-minutes',
        type=float,
        default=10,
        help='of each model and seed, over all calls (default: %(default)s)',
    )
    parser.add_argument(
        '--iterations', type=int, help='of the training schedule (default: as the configs say)'
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
    settings = Settings(
        root=Path(__file__).resolve().parents[1],
        out=Path(args.out).absolute(),
        command=shlex.join(['tools/cuda_check.sh', *sys.argv[1:]]),
        device=args.device,
        limit=args.limit,
        train_minutes=args.train_minutes,
        iterations=args.iterations,
        seeds=tuple(dict.fromkeys(args.seeds)),
        data_root=args.data_root and str(Path(args.data_root).absolute()),
        skip=tuple(args.skip),
    )
    settings.check()
    # Ended from outside, as by a batch system's limit, it ends what it started, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = check(settings)
    except KeyboardInterrupt:
        print(f'\ninterrupted; what there is is in {args.out}', file=sys.stderr)
        sys.exit(130)
    print(f'\n{report.read_text()}\n{report}, {report.with_suffix(".json").name}')


if __name__ == '__main__':
    main()
