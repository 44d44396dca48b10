"""Publishes a checkpoint: keeps weights and meta, as .pth and .safetensors named by their hash."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', metavar='IN', help='checkpoint, or the work dir of a run')
    parser.add_argument(
        'output',
        metavar='OUT',
        help='such as faseg.pth: faseg-1a2b3c4d.pth and faseg-5e6f7a8b.safetensors are written, '
        'each with the first 8 digits of its SHA-256; such a suffix of OUT is replaced',
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_faseg.apis.checkpoint import find_checkpoint
    from mmseg_faseg.checkpoints.publish import publish_model

    publish_model(find_checkpoint(args.checkpoint), args.output)


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
