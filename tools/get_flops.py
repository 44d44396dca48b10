"""Counts the parameters of a segmentor, and the FLOPs of predicting one image."""

import argparse
import sys


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
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        metavar='KEY=VALUE',
        help='change settings of the config; lists as key="[a,b]" or key=a,b; '
        'data_root=PATH moves all data sets',
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis import load_config, parse_options
    from mmseg_faseg.apis.complexity import complexity_of, input_size_of

    cfg = load_config(args.config, parse_options(args.cfg_options))
    height, width = size = tuple(args.shape or input_size_of(cfg))
    complexity = complexity_of(cfg, size)
    print(f'{args.config} at {height} x {width}\n')
    print(complexity.table(args.parts))


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
