"""Checks of what label maps hold: classes, and how these share the images.

Each is a generator of what it finds and has the check's name.
"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..labels.maps import IGNORE
from .classes import Classes, is_smoothed
from .finding import MOST_IN_WORDS, Context, Finding, counted, in_words, values_in_words
from .split import shared_looks

_RARE = 2  # images


def colours(context: Context) -> Iterator[Finding]:
    """Label maps have one class number per pixel, not colours."""
    coloured = [one for one in context.found.pairs if one.colours]
    if not coloured:
        return
    total: Counter[tuple[int, int, int]] = Counter()
    for one in coloured:
        total.update(one.colours)
    shown = ', '.join('#{:02x}{:02x}{:02x}'.format(*colour) for colour, _ in total.most_common(8))
    more = f' and {len(total) - 8} more' if len(total) > 8 else ''
    out = f'{Path(context.found.labels or "labels").name}_ids'
    yield Finding(
        f'{counted(coloured, "label map")} with colours where class numbers are needed: '
        f'{shown}{more}; the first is {coloured[0].labels}',
        shlex.join(['faseg', 'convert', 'colours', str(context.found.labels), out]),
        [str(one.labels) for one in coloured],
        True,
    )


def black_and_white(context: Context) -> Iterator[Finding]:
    """Label maps of 0 and 255 mean what they seem to mean: 255 is ignored where it is no class."""
    if set(context.found.values) != {0, IGNORE} or context.classes is None:
        return
    if context.classes.values is None:
        yield Finding(
            f'label maps hold 0 and 255 only; 255 is ignored, so that nothing but '
            f'{context.classes.names[0]!r} would be learnt',
            'name the two classes: '
            + context.command('check', '--classes', 'background', 'object'),
            stops=True,
        )
    elif context.named:
        black, white = (context.classes.names[number] for number in (0, 1))
        yield Finding(f'label maps hold 0 and 255 only: 0 is {black!r}, 255 is {white!r}')
    else:
        yield Finding(
            'label maps hold 0 and 255 only: 255 can be a class',
            'name the two: ' + context.command('check', '--classes', 'background', 'object'),
        )


def smoothed(context: Context) -> Iterator[Finding]:
    """Edges of label maps in black and white are sharp."""
    if not is_smoothed(context.found):
        return
    greys = len(set(context.found.values) - {0, IGNORE})
    files = [str(one.labels) for one in context.found.pairs if set(one.values) - {0, IGNORE}]
    yield Finding(
        f'label maps are black and white, 0 and 255, but {len(files)} have '
        f'{greys} greys between: edges were smoothed, or the file was JPEG once',
        'save them without smoothing: every pixel 0 or 255',
        files,
        True,
    )


def outside(context: Context) -> Iterator[Finding]:
    """Values of label maps are classes, or 255, which is ignored."""
    if context.classes is None or is_smoothed(context.found):
        return
    known = {*context.classes.number_of, IGNORE}
    by_values = defaultdict(list)
    for one in context.found.pairs:
        by_values[tuple(sorted(set(one.values) - known))].append(one)
    by_values.pop((), None)
    for wrong, pairs in sorted(by_values.items()):
        yield Finding(
            f'{pairs[0].labels} has {values_in_words(wrong)}, no class: there are '
            f'{len(context.classes.names)}, with {_spelled(context.classes)}'
            + (f'; so have {len(pairs) - 1} more label maps' if pairs[1:] else ''),
            _naming(context, context.classes, wrong),
            [str(one.labels) for one in pairs],
            True,
        )


def _naming(context: Context, classes: Classes, wrong: Sequence[int]) -> str:
    """How values that are no class become classes, if they are a few that can be."""
    if len(wrong) > MOST_IN_WORDS or not 0 <= wrong[0] <= wrong[-1] < IGNORE:
        return 'classes have values from 0 to 254: draw the labels anew, or --skip-bad'
    values = [*classes.number_of, *wrong]
    arguments = ['--classes', *classes.names, *(f'class{value}' for value in wrong)]
    if values != list(range(len(values))):
        arguments += ['--label-values', *map(str, values)]
    return f'name it: {context.command("check", *arguments)}, or --skip-bad'


def _spelled(classes: Classes) -> str:
    if classes.values is None:
        return f'values 0 to {len(classes.names) - 1}'
    return f'values {", ".join(map(str, classes.values))}'


def too_few(context: Context) -> Iterator[Finding]:
    """There is an image to train on, and one to validate on."""
    count = len(context.found.pairs)
    if count < 2:
        yield Finding(
            f'{counted(range(count), "image")} with a label map that can be used: two are needed, '
            'one to train on and one to validate on',
            'add images and label maps',
            stops=True,
        )


def absent(context: Context) -> Iterator[Finding]:
    """Every class occurs in what is trained on."""
    if context.classes is None or not context.found.pairs or is_smoothed(context.found):
        return
    train = context.found.pairs
    if context.parts is not None:
        names = set(context.parts.train)
        train = [one for one in train if one.name in names]
    values = {value for one in train for value in one.values}
    missing = [
        context.classes.names[number]
        for value, number in context.classes.number_of.items()
        if value not in values
    ]
    if missing and not any(one.colours for one in train):
        where = 'image' if context.parts is None else 'image to train on'
        yield Finding(
            f'no {where} shows {in_words(map(repr, missing))}: of {len(train)} label maps none '
            f'has such a pixel; they hold {values_in_words(values)}',
            'leave it out of --classes, add images that show it, or choose another --val'
            if context.named
            else 'number classes without gaps, or say --label-values '
            + ' '.join(map(str, sorted(values - {IGNORE}))),
            stops=True,
        )


def rare(context: Context) -> Iterator[Finding]:
    """Every class occurs in several images."""
    if context.classes is None:
        return
    for value, number in context.classes.number_of.items():
        files = [one.image for one in context.found.pairs if value in one.values]
        if 0 < len(files) <= _RARE:
            yield Finding(
                f'{context.classes.names[number]!r} is in {counted(files, "image")} only',
                'add images that show it',
                files,
            )


def nothing_labelled(context: Context) -> Iterator[Finding]:
    """Every label map has pixels that are not ignored."""
    if context.classes is None:
        return
    ignored = {IGNORE} - set(context.classes.number_of)
    files = [str(one.labels) for one in context.found.pairs if set(one.values) == ignored]
    if files:
        yield Finding(f'{counted(files, "label map")} with nothing but ignored pixels', '', files)


def look_alike(context: Context) -> Iterator[Finding]:
    """No image to validate on looks the same as one to train on."""
    if context.parts is None:
        return
    shared = shared_looks(context.found.pairs, context.parts)
    if shared:
        train, val = shared[0]
        yield Finding(
            f'{counted(shared, "image")} to train on look like one to validate on, such as {train} '
            f'and {val}: metrics will be too good',
            'list whole scenes in a file of names: --val names.txt',
            [name for name, _ in shared],
        )
