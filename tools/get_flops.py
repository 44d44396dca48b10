"""Counts the parameters of a segmentor, and the FLOPs of predicting one image."""

import argparse

from mmseg_faseg.apis import add_options, load_config, one_line_errors
from mmseg_faseg.apis.complexity import complexity_of, input_size_of


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or PACKAGE::NAME.py for an installed one')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help="size of the network's input (default: what the config crops and tests at)",
    )
    parser.add_argument('--parts', action='store_true', help='backbone, decoders, prediction too')
    add_options(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    height, width = size = tuple(args.shape or input_size_of(cfg))
    complexity = complexity_of(cfg, size)
    print(f'{args.config} at {height} x {width}\n')
    print(complexity.table(args.parts))


if __name__ == '__main__':
    main()
