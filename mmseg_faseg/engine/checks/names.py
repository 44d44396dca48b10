"""The names of all checks, which ``skip_checks`` of a config takes, and what each looks at."""

from . import annotations, config, datasets, pairs, schedules, segments, settings

_FUNCTIONS = (
    *config.REFUSED,
    *settings.REFUSED,
    *schedules.REFUSED,
    *schedules.WARNED,
    *settings.WARNED,
    *datasets.REFUSED,
    *datasets.WARNED,
    *datasets.WARNED_BETWEEN,
    datasets.absent_classes,
    *pairs.REFUSED,
    *pairs.WARNED,
    *annotations.REFUSED,
    *annotations.WARNED,
    *annotations.WARNED_TOGETHER,
    *segments.REFUSED,
    *segments.WARNED,
)
CHECKS: dict[str, str] = {
    'readable': 'Images and label maps, or panoptic PNG files, can be read.',
    'class_names_of_checkpoint': 'A checkpoint was trained on classes of the same names.',
    **{check.__name__: (check.__doc__ or '').splitlines()[0] for check in _FUNCTIONS},
}
