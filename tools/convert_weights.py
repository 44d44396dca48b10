"""Converts released weights: FASeg, Mask2Former, Panoptic SegFormer, ImageNet's Swin."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='SRC', help='released checkpoint, .pth or .pkl')
    parser.add_argument('target', metavar='DST', help='the checkpoint to write, .pth')
    parser.add_argument(
        '--config',
        help='config to convert for, or mmseg_faseg::NAME.py (default: recognised from the keys)',
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis.convert import LICENCES, convert_file

    done = convert_file(args.source, args.target, args.config)
    print(f'{args.source}: {done.model}\n  config     {done.config.filename}')
    print(f'  converted  {len(done.sources)} keys')
    for title, keys in (('dropped', done.dropped), ('new', done.new)):
        for reason in dict.fromkeys(keys.values()):
            named = [key for key in keys if keys[key] == reason]
            more = f' and {len(named) - 1} like it' if len(named) > 1 else ''
            print(f'  {title:9}  {named[0]}{more}: {reason}')
    print(f'  written    {args.target}\n{LICENCES[done.model.method]}')


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
