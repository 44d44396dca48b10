"""Publishes a checkpoint: keeps weights and meta, as .pth and .safetensors named by their hash."""

import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', metavar='IN', help='checkpoint that training has written')
    parser.add_argument(
        'output',
        metavar='OUT',
        help='such as faseg.pth: faseg-1a2b3c4d.pth and faseg-5e6f7a8b.safetensors are written, '
        'each with the first 8 digits of its SHA-256; such a suffix of OUT is replaced',
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.checkpoints.publish import publish_model

    publish_model(args.checkpoint, args.output)


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    from mmseg_faseg.errors import one_line_errors

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
