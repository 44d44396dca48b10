"""Trains a grid of FASeg's variants with several seeds and tabulates what came out."""

import argparse

from mmseg_faseg.ablation import HRCA, KEY_POSITIONS, POSITIONAL_QUERIES, ablate, grid
from mmseg_faseg.apis import add_options, one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config',
        default='mmseg_faseg::faseg_toy.py',
        help='the config that is varied, or mmseg_faseg::NAME.py (default: %(default)s)',
    )
    parser.add_argument('--work-dir', default='work_dirs/ablation', help='default: %(default)s')
    parser.add_argument(
        '--positional-query',
        nargs='+',
        choices=POSITIONAL_QUERIES,
        default=list(POSITIONAL_QUERIES),
    )
    parser.add_argument('--hrca', nargs='+', choices=HRCA, default=['none', 'block'])
    parser.add_argument(
        '--ratio',
        nargs='+',
        type=float,
        default=[1 / 32],
        help="share of the coarse tokens that HRCA's regions lie under (k)",
    )
    parser.add_argument('--key-pos', nargs='+', choices=KEY_POSITIONS, default=['conditional'])
    parser.add_argument('--threshold', nargs='+', type=float, default=[0.15])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time; they share the cores')
    add_options(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    variants = grid(args.positional_query, args.hrca, args.ratio, args.key_pos, args.threshold)
    table = ablate(args.config, variants, args.seeds, args.work_dir, args.jobs, args.cfg_options)
    print(f'\n{table.read_text()}\n{table}, {table.with_suffix(".csv")}')


if __name__ == '__main__':
    main()
