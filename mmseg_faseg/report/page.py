"""Writes a report as one HTML page that needs nothing beside it."""

import difflib
import math
from collections.abc import Sequence
from typing import NamedTuple

import jinja2
import numpy as np

from .notes import about_comparison
from .pictures import RUN_COLOURS, draw_curves, draw_scenes
from .run import Judged, Run
from .scores import Evaluation, ImageScore, Mean, most_different

_SHOWN = 10  # images of a kind, and confusions of classes


class Quantity(NamedTuple):
    """A number of each run.

    Attributes:
        name: Of the number.
        values: Of each run, 0 to 1; nan where there is none.
        over: How many classes each is a mean of; empty for what is no mean of classes.
    """

    name: str
    values: list[float]
    over: list[int]


class Picture(NamedTuple):
    """An image as the runs see it.

    Attributes:
        scores: Of each run.
        addresses: Of pictures: image, truth, prediction of each run.
    """

    scores: Sequence[ImageScore]
    addresses: list[str]


class Gallery(NamedTuple):
    """Images that belong together."""

    title: str
    pictures: list[Picture]


class Confusion(NamedTuple):
    """A class that is taken for another.

    Attributes:
        truth: The class by the labels.
        predicted: The class by the prediction.
        share: Of the true class's pixels, 0 to 1.
        pixels: How many.
    """

    truth: str
    predicted: str
    share: float
    pixels: int


def render(runs: Sequence[Run], version: str) -> str:
    """The page of a run, or of several beside each other.

    Args:
        runs: Of the same classes.
        version: Of this package.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('mmseg_faseg.report', '.'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(percent=percent, signed=signed, bar=bar, colour=colour)
    shown = [run for run in runs if run.judged]
    judged = [run.judged for run in runs if run.judged]
    evaluations = [one.evaluation for one in judged]
    return environment.get_template('report.html.jinja').render(
        runs=runs,
        shown=shown,
        notes=list(about_comparison(evaluations)),
        run_colours=RUN_COLOURS,
        version=version,
        curves=draw_curves([run.curves for run in runs]),
        quantities=quantities(evaluations),
        galleries=galleries(judged),
        confusions=[confusions(one) for one in evaluations],
        changes=[config_changes(runs[0], run) for run in runs[1:]],
    )


def quantities(evaluations: Sequence[Evaluation]) -> list[Quantity]:
    """What is said of whole data sets."""
    means = {
        'mIoU': [one.pixels.mean_iou for one in evaluations],
        'mean accuracy': [one.pixels.mean_accuracy for one in evaluations],
        'boundary mIoU': [one.boundary.mean_iou for one in evaluations],
    }
    nothing = Mean(math.nan, 0)
    for size in dict.fromkeys(size for one in evaluations for size in one.sizes):
        means[f'mIoU of {size} segments'] = [
            one.sizes[size].mean_iou if size in one.sizes else nothing for one in evaluations
        ]
    return [
        Quantity('pixel accuracy', [one.pixels.right for one in evaluations], []),
        *(
            Quantity(name, [mean.value for mean in row], [mean.over for mean in row])
            for name, row in means.items()
        ),
    ]


def galleries(runs: Sequence[Judged]) -> list[Gallery]:
    """A run's worst and best images, or those where several runs differ most."""
    if not runs:
        return []
    chosen: dict[str, list[tuple[ImageScore, ...]]]
    if len(runs) == 1:
        ranked: list[tuple[ImageScore, ...]] = [
            (image,) for image in runs[0].evaluation.worst_first()
        ]
        half = min(_SHOWN, -(-len(ranked) // 2))
        worst, rest = ranked[:half], ranked[half:]
        chosen = {'Worst images': worst, 'Best images': rest[::-1][:_SHOWN]}
    else:
        different = most_different([run.evaluation for run in runs])
        chosen = {'Images where the runs differ most': different[:_SHOWN]}
    return [
        Gallery(title, [_picture(runs, scores) for scores in images])
        for title, images in chosen.items()
        if images
    ]


def _picture(runs: Sequence[Judged], scores: Sequence[ImageScore]) -> Picture:
    scenes = [run.scenes[score.index] for run, score in zip(runs, scores, strict=True)]
    return Picture(scores, draw_scenes(scenes, runs[0].evaluation.palette))


def confusions(evaluation: Evaluation) -> list[Confusion]:
    """Which classes are taken for which others, those first that lose the largest share."""
    pixels = evaluation.confusion
    shares = pixels / np.maximum(1, pixels.sum(1, keepdims=True))
    wrong = np.where(np.eye(len(pixels), dtype=bool), 0, shares)
    names = evaluation.classes
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None)[:_SHOWN], wrong.shape)
    return [
        Confusion(names[i], names[j], float(wrong[i, j]), int(pixels[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j] > 0
    ]


def config_changes(first: Run, other: Run) -> str:
    """Where two runs' configs differ, as ``diff -u`` shows it."""
    before, after = first.config.text.splitlines(), other.config.text.splitlines()
    lines = difflib.unified_diff(before, after, first.name, other.name, lineterm='', n=1)
    return '\n'.join(lines)


def percent(value: float) -> str:
    """A share from 0 to 1 in percent."""
    return '–' if math.isnan(value) else f'{100 * value:.2f}'


def signed(difference: float) -> str:
    """A difference of shares in points of percent."""
    return '–' if math.isnan(difference) else f'{100 * difference:+.2f}'


def bar(value: float) -> str:
    """A share as the length of a bar, for CSS."""
    return '0%' if math.isnan(value) else f'{100 * value:.1f}%'


def colour(rgb: Sequence[int]) -> str:
    """A colour for CSS."""
    return '#{:02x}{:02x}{:02x}'.format(*(int(part) & 255 for part in rgb))
