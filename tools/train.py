"""Trains a segmentor. Takes the arguments of MMSegmentation's tools/train.py."""

import argparse
import os
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or mmseg_faseg::NAME.py for one of ours')
    parser.add_argument('--work-dir', help='where to write logs and checkpoints')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on from the newest whole checkpoint in the work dir; '
        'from another one with --cfg-options load_from=CHECKPOINT',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        metavar='KEY=VALUE',
        help='change settings of the config; lists as key="[a,b]" or key=a,b; '
        'data_root=PATH moves all data sets',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis import load_config, parse_options, train, work_dir_of

    os.environ.setdefault('LOCAL_RANK', os.environ.get('SLURM_LOCALID', str(args.local_rank)))
    options = parse_options(args.cfg_options)
    cfg = load_config(args.config, options)
    cfg.work_dir = work_dir_of(cfg, args.work_dir)
    # A config's own load_from is what the run began with, not where it goes on.
    resume = args.resume and (options.get('load_from') or True)
    train(cfg, resume=resume, amp=args.amp, launcher=args.launcher)


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
