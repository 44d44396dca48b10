"""Runs one of MMSegmentation's own tools with this package's models, configs and data sets known.

For example: python tools/mmseg_tool.py misc/print_config configs/faseg_toy.py
"""

import argparse
import runpy
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('tool', help='its name, such as analysis_tools/confusion_matrix')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help="the tool's own arguments")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    import mmseg

    from mmseg_faseg.errors import UserError

    folder = Path(mmseg.__file__).parent / '.mim/tools'
    if not folder.is_dir():  # an editable installation: its tools are those of its repository
        folder = Path(mmseg.__file__).parents[1] / 'tools'
    tools = {str(file.relative_to(folder).with_suffix('')): file for file in folder.rglob('*.py')}
    file = tools.get(args.tool.removesuffix('.py'))
    if file is None:
        raise UserError(
            f'tool: MMSegmentation has no {args.tool!r}; it has {", ".join(sorted(tools))}'
        )
    sys.argv = [str(file), *args.arguments]
    sys.path[0] = str(file.parent)
    runpy.run_path(str(file), run_name='__main__')


def main() -> None:
    args = parse_args()  # before any import that takes seconds
    from mmseg_faseg.errors import one_line_errors

    one_line_errors(run)(args)


if __name__ == '__main__':
    main()
