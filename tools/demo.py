"""Makes toy scenes, trains FASeg on them for some minutes, evaluates it and draws pictures."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config',
        default='mmseg_faseg::faseg_toy.py',
        help='config file, or mmseg_faseg::NAME.py for one of ours (default: %(default)s)',
    )
    parser.add_argument(
        '--work-dir', help='for weights, logs and pictures (default: work_dirs/demo/CONFIG)'
    )
    parser.add_argument(
        '--checkpoint', help='weights or work dir to evaluate and draw, without training'
    )
    parser.add_argument('--data-root', help='folder of the toy scenes (default: as the config)')
    parser.add_argument('--iters', type=int, help='training iterations (default: as the config)')
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis.demo import run_demo

    score = run_demo(args.config, args.work_dir, args.checkpoint, args.data_root, args.iters)
    if score.value < score.least:
        reached = f'{score.name} {score.value:.3f}'
        sys.exit(f'The demo reached {reached}, less than the {score.least:.2f} it should.')


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
