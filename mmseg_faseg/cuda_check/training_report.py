"""What came out of training, side by side."""

import statistics

from ..benchmark.report import table
from .step import Result
from .training import step_name


def training_section(
    steps: dict[str, Result], configs: tuple[str, str], seeds: tuple[int, ...]
) -> str:
    """Training as Markdown: a column per model and seed."""
    columns = {
        f'{_label(config)}, seed {seed}': result
        for seed in seeds
        for config in configs
        if 'mIoU' in (result := steps.get(step_name(config, seed), {}))
    }
    if not columns:
        return 'Not trained and evaluated.\n'
    rows = [
        ['iterations', *(f'{own["evaluated"]} of {own["of"]}' for own in columns.values())],
        ['mIoU', *(f'{own["mIoU"]:.2f}' for own in columns.values())],
    ]
    classes = dict.fromkeys(name for own in columns.values() for name in own['classes'])
    for name in classes:
        rows.append([name, *(_percent(own['classes'].get(name)) for own in columns.values())])
    return table(['', *columns], rows) + _means(steps, configs, seeds)


def _means(steps: dict[str, Result], configs: tuple[str, str], seeds: tuple[int, ...]) -> str:
    """Means over the seeds that both models have; nothing is said of one seed."""
    mious = [
        [steps.get(step_name(config, seed), {}).get('mIoU') for config in configs] for seed in seeds
    ]
    both = [pair for pair in mious if None not in pair]
    if len(both) < 2:
        return '\nOne seed tells little.\n'
    spelled = [
        f'{_label(config)} {statistics.mean(own):.2f} ± {statistics.stdev(own):.2f}'
        for config, own in zip(configs, zip(*both, strict=True), strict=True)
    ]
    return f'\nmIoU, mean ± standard deviation of {len(both)} seeds: {", ".join(spelled)}.\n'


def _label(config: str) -> str:
    return 'FASeg' if 'faseg' in config.rpartition('::')[2] else 'Mask2Former'


def _percent(value: float | None) -> str:
    return '' if value is None else f'{value:.2f}'
