"""The report: what ``cuda_check.json`` holds, as Markdown."""

from typing import Any

from ..benchmark.report import table
from .benchmarks import benchmark_section
from .loading import loading_section
from .settings import SUBJECTS
from .suite import suite_section
from .targets import target_section
from .training_report import training_section

_DRY = '# Dry run on a CPU, with toy models: it says nothing about CUDA\n'


def markdown(results: dict[str, Any]) -> str:
    """The whole report.

    Args:
        results: As :class:`.state.State` keeps them.
    """
    device, steps = results['device'], results['steps']
    subjects = SUBJECTS[device]
    title = _DRY if device == 'cpu' else f'# CUDA check: {results["identity"]["device"]}\n'
    targets = (
        'The targets are for a GPU.\n'
        if device == 'cpu'
        else target_section(steps, subjects.precisions, results['environment']['deformable'])
    )
    sections = [
        title,
        '```bash\n' + '\n'.join(results['commands']) + '\n```\n',
        '## Environment\n',
        _environment(results['environment']),
        '## Targets\n',
        targets,
        '## Tests that need a GPU\n',
        suite_section(steps),
        '## Time and memory\n',
        benchmark_section(steps, subjects, device),
        '## Data loading\n',
        loading_section(steps),
        '## Training\n',
        training_section(steps, subjects.training, results['seeds']),
        '## Steps\n',
        _steps(steps),
    ]
    return '\n'.join(sections)


def _environment(environment: dict[str, Any]) -> str:
    rows = [[key, value] for key, value in environment['facts'].items()]
    notes = ''.join(f'- {note}\n' for note in environment['notes'])
    return table(['', ''], rows) + (f'\n{notes}' if notes else '')


def _steps(steps: dict[str, dict[str, Any]]) -> str:
    rows = [
        [
            name,
            result['status'],
            f'{result.get("seconds", 0):.0f}',
            result.get('log', ''),
            result.get('message', '').replace('|', '/'),
        ]
        for name, result in steps.items()
    ]
    return table(['step', 'ended', 'seconds', 'log', ''], rows) if rows else 'None yet.\n'
