"""Tests (evaluates) a segmentor. Takes the arguments of MMSegmentation's tools/test.py."""

import argparse
import os
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        nargs='?',
        help='config file, or mmseg_faseg::NAME.py for one of ours (default: as the checkpoint '
        'says)',
    )
    parser.add_argument('checkpoint', help='checkpoint file or address, or the work dir of a run')
    parser.add_argument('--work-dir', help='where to write logs and metrics (json)')
    parser.add_argument('--out', help='folder for predicted label maps (png)')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for painted predictions')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds to show each prediction'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        metavar='KEY=VALUE',
        help='change settings of the config; lists as key="[a,b]" or key=a,b; '
        'data_root=PATH moves all data sets',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--trust',
        action='store_true',
        help="without a config, build the checkpoint's own as it is written, which can run code: "
        'for those who know where the file is from',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_intermixed_args()  # the first of two positionals is optional


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis import (
        UserError,
        load_config,
        load_stored_config,
        parse_options,
        test,
        work_dir_of,
    )

    os.environ.setdefault('LOCAL_RANK', os.environ.get('SLURM_LOCALID', str(args.local_rank)))
    options = parse_options(args.cfg_options)
    if args.config is None:
        cfg = load_stored_config(args.checkpoint, options, trust=args.trust)
    elif args.trust:
        raise UserError(f'--trust is for the config in a checkpoint, got the config {args.config}')
    else:
        cfg = load_config(args.config, options)
    cfg.work_dir = work_dir_of(cfg, args.work_dir)
    test(
        cfg,
        args.checkpoint,
        out=args.out,
        show=args.show,
        show_dir=args.show_dir,
        wait_time=args.wait_time,
        tta=args.tta,
        launcher=args.launcher,
    )


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
