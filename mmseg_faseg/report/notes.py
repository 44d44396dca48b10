"""What a reader has to know before trusting the numbers of a run."""

from collections.abc import Iterator, Sequence

import numpy as np

from .data import Part
from .scalars import Curves
from .scores import Evaluation

_LISTED = 5  # files or classes in a note


def about_curves(curves: Curves) -> Iterator[str]:
    """A line for each thing that is missing."""
    if curves.unread:
        lines = 'line' if curves.unread == 1 else 'lines'
        yield f'{curves.unread} {lines} of scalars.json cannot be read, as after a kill: left out'
    if not curves.by_name():
        yield 'there are no curves: no */vis_data/scalars.json of the work dir has numbers'


def about_part(part: Part) -> Iterator[str]:
    """What the data check would refuse."""
    if part.problems:
        listed = _first(part.problems, '; ')
        yield f'{len(part.problems)} images of {part.name} are not counted: {listed}'


def about_evaluation(evaluation: Evaluation) -> Iterator[str]:
    """A line for each thing that was left out or has no number."""
    looked_at = len(evaluation.images) + len(evaluation.left_out)
    if looked_at < evaluation.num_images:
        yield (
            f'{looked_at} of {evaluation.num_images} test images were looked at, evenly spread '
            '(--max-images)'
        )
    if evaluation.left_out:
        listed = _first(evaluation.left_out, '; ')
        yield f'{len(evaluation.left_out)} images could not be judged: {listed}'
    absent = [evaluation.classes[label] for label in np.flatnonzero(evaluation.labelled == 0)]
    if absent:
        yield (
            f'of {len(evaluation.classes)} classes {len(absent)} do not occur in the labels of the '
            f'judged images: {_first(absent, ", ")}; means say over how many classes they are'
        )
    unlabelled = len(evaluation.images) - len(evaluation.worst_first())
    if unlabelled:
        yield f'{unlabelled} images have no labelled pixel, and so no score'


def about_comparison(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Whether several runs can be compared."""
    names = [{image.name for image in one.images} for one in evaluations]
    if any(other != names[0] for other in names):
        yield (
            f'the runs were judged on different images, {len(set.intersection(*names))} in common: '
            'differences of their numbers are not those of the models alone'
        )


def _first(texts: Sequence[str], separator: str) -> str:
    more = f'{separator}...' if len(texts) > _LISTED else ''
    return separator.join(texts[:_LISTED]) + more
