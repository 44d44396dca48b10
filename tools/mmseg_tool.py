"""Runs one of MMSegmentation's own tools with this package's models, configs and data sets known.

For example: python tools/mmseg_tool.py misc/print_config configs/faseg_toy.py
"""

import argparse
import importlib
import runpy
import sys
from pathlib import Path


def parse_args(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('tool', help='its name, such as analysis_tools/confusion_matrix')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help="the tool's own arguments")
    return parser.parse_args()


def run(package: str, args: argparse.Namespace) -> None:
    from mmseg_faseg.errors import UserError

    source = Path(str(importlib.import_module(package).__file__))
    folder = source.parent / '.mim/tools'
    if not folder.is_dir():  # an editable installation: its tools are those of its repository
        folder = source.parents[1] / 'tools'
    tools = {str(file.relative_to(folder).with_suffix('')): file for file in folder.rglob('*.py')}
    file = tools.get(args.tool.removesuffix('.py'))
    if file is None:
        raise UserError(f'tool: {package} has no {args.tool!r}; it has {", ".join(sorted(tools))}')
    sys.argv = [str(file), *args.arguments]
    sys.path[0] = str(file.parent)
    runpy.run_path(str(file), run_name='__main__')


def main(package: str, description: str | None) -> None:
    args = parse_args(description)  # before any import that takes seconds
    try:
        from mmseg_faseg.errors import one_line_errors
    except KeyboardInterrupt:
        sys.exit(130)

    one_line_errors(run)(package, args)


if __name__ == '__main__':
    main('mmseg', __doc__)
