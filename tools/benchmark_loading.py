"""Measures how many images per second a config's training data loader gives."""

import argparse
import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

from mmseg_faseg.apis import UserError, add_options, load_config, one_line_errors
from mmseg_faseg.benchmark import machine
from mmseg_faseg.benchmark.loading import bottleneck, check_plan, measure
from mmseg_faseg.benchmark.report import table
from mmseg_faseg.files import whole_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        help='config file, or PACKAGE::NAME.py for an installed one, with data to train on',
    )
    parser.add_argument(
        '--workers',
        nargs='+',
        type=int,
        default=[0, 1, 2, 4],
        help='numbers of worker processes (default: 0 1 2 4)',
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=10,
        help='of each measurement, after a warm-up of one epoch or as long (default: %(default)s)',
    )
    parser.add_argument(
        '--consumes',
        type=float,
        metavar='IMAGES_PER_SECOND',
        help='what training takes: says which side is the bottleneck',
    )
    parser.add_argument('--out', default='work_dirs/loading', help='folder (default: %(default)s)')
    add_options(parser)
    return parser.parse_args()


def write(results: dict[str, Any], folder: Path) -> None:
    """Writes loading.json and loading.md."""
    with whole_file(folder / 'loading.json') as temporary:
        temporary.write_text(json.dumps(results, indent=1) + '\n')
    with whole_file(folder / 'loading.md') as temporary:
        temporary.write_text(markdown(results))


def markdown(results: dict[str, Any]) -> str:
    """The same results to read."""
    process = results['process']
    shares = [[name, f'{share:.0%}'] for name, share in process['shares']]
    rates = [
        ['one process, without data loader', f'{process["images_per_second"]:.1f}'],
        *([_workers(row), f'{row["images_per_second"]:.1f}'] for row in results['rows']),
    ]
    settings = [
        ['images per batch', str(results['images_per_batch'])],
        ['workers configured', str(results['configured_workers'])],
        ['persistent workers', 'yes' if results['persistent_workers'] else 'no'],
        ['pinned memory', 'yes' if results['pin_memory'] else 'no'],
    ]
    sections = [
        f'```bash\n{results["command"]}\n```\n',
        '### Machine\n\n' + table(['', ''], [list(row) for row in results['machine'].items()]),
        '### Data loader\n\n' + table(['', ''], settings),
        '### Images per second\n\n' + table(['', 'images/s'], rates),
        '### Where the time of one process goes\n\n' + table(['transform', 'share'], shares),
    ]
    if 'bottleneck' in results:
        sections.append(f'### Bottleneck\n\n{results["bottleneck"]}\n')
    return '\n'.join(sections)


def _workers(row: dict[str, Any]) -> str:
    if row['workers'] == 0:
        return "data loader in the model's process"
    return f'{row["workers"]} worker{"s" if row["workers"] > 1 else ""}'


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_plan(cfg, args.workers, args.seconds, args.consumes)
    folder = Path(args.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out: no folder can be made at {folder}: {error.strerror}') from None
    # About more workers than cores, which the table shows.
    warnings.filterwarnings('ignore', 'This DataLoader will create')
    conditions = dict(
        command=shlex.join(['python', *sys.argv]),
        config=Path(cfg.filename).name,
        machine=machine.describe('cpu', threads=1),
        seconds=args.seconds,
        consumes=args.consumes,
    )

    def report(results: dict[str, Any]) -> None:
        results = conditions | results
        if args.consumes is not None:
            results['bottleneck'] = bottleneck(results, args.consumes)
        write(results, folder)
        row = results['rows'][-1] if results['rows'] else None
        rate = (row or results['process'])['images_per_second']
        print(f'{_workers(row) if row else "one process"}: {rate:.1f} images/s', flush=True)

    try:
        measure(cfg, args.workers, args.seconds, report)
    except KeyboardInterrupt:
        print(f'\ninterrupted; what was measured so far is in {folder}', file=sys.stderr)
        sys.exit(130)
    print(f'\n{(folder / "loading.md").read_text()}\n{folder / "loading.md"}, loading.json')


if __name__ == '__main__':
    main()
