"""Tests (evaluates) a segmentor. Takes the arguments of MMSegmentation's tools/test.py."""

import argparse
import os
from contextlib import nullcontext


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        nargs='?',
        help='config file, or mmseg_faseg::NAME.py for one of ours (default: as the checkpoint '
        'says)',
    )
    parser.add_argument('checkpoint', help='checkpoint file or address')
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
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_intermixed_args()  # the first of two positionals is optional


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis import (
        load_config,
        load_stored_config,
        only_registered,
        parse_options,
        test,
        work_dir_of,
    )

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    stored = args.config is None
    if stored:
        cfg = load_stored_config(args.checkpoint, parse_options(args.cfg_options))
    else:
        cfg = load_config(args.config, parse_options(args.cfg_options))
    cfg.work_dir = work_dir_of(cfg, args.work_dir)
    with only_registered() if stored else nullcontext():
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
    from mmseg_faseg.errors import one_line_errors

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
