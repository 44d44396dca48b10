"""Step: whether data loading keeps up with the model."""

import json
import shutil
import statistics
from functools import partial

from .benchmarks import TRAINED, TRAINED_BATCH, row_of
from .settings import Settings
from .step import Result, Step, data_options, run_tool

NAME = 'loading'


def loading_step(settings: Settings) -> Step:
    """Measures the training data's loader beside what FASeg consumes."""
    return Step(NAME, 'loading', 60, 300, partial(_run, settings))


def consumption(steps: dict[str, Result]) -> float | None:
    """Images per second that FASeg's training iterations take; None if not measured."""
    row = row_of(steps, TRAINED, 'iteration')
    if row is None or 'seconds' not in row:
        return None
    return TRAINED_BATCH / statistics.median(row['seconds'][0])


def _run(settings: Settings, seconds: float, steps: dict[str, Result]) -> Result:
    folder = settings.out / NAME
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ['tools/benchmark_loading.py', settings.subjects.training[0], '--seconds', 5]
    consumed = consumption(steps)
    if consumed is not None:
        arguments += ['--consumes', f'{consumed:.1f}']
    options = data_options(settings)
    arguments += ['--out', folder, *(['--cfg-options', *options] if options else [])]
    _, result = run_tool(settings, NAME, arguments, seconds)
    result['consumed'] = consumed
    for file, key in ((folder / 'loading.json', 'loading'), (folder / 'loading.md', 'markdown')):
        if file.exists():
            text = file.read_text()
            result[key] = json.loads(text) if file.suffix == '.json' else text
    return result


def loading_section(steps: dict[str, Result]) -> str:
    """Loading as Markdown."""
    result = steps.get(NAME, {})
    if 'markdown' not in result:
        return 'Not measured.\n'
    consumed = result['consumed']
    taken = 'was not measured' if consumed is None else f'is {consumed:.1f} images/s'
    return f'What FASeg consumes in training {taken}.\n\n{result["markdown"]}'
