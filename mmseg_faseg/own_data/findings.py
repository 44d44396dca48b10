"""What is wrong with a folder of photos and labels, which file it is about, and what mends it.

Each check is a generator of what it finds and has the check's name.
"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..labels.maps import IGNORE
from .classes import Classes, is_smoothed
from .split import Split, shared_looks
from .survey import Survey

_RARE = 2  # images
_SHOWN = 12  # values in a sentence


class Context(NamedTuple):
    """What checks look at.

    Attributes:
        found: What was seen.
        classes: What the labels mean; None where there are no labels.
        named: Whether somebody said what the classes are.
        parts: What is trained and validated on; None where that is not decided.
    """

    found: Survey
    classes: Classes | None = None
    named: bool = False
    parts: Split | None = None

    def command(self, verb: str = 'check', *arguments: str) -> str:
        """A command about these folders."""
        labels = [] if self.found.labels is None else ['--labels', self.found.labels]
        return shlex.join(['faseg', verb, self.found.images, *labels, *arguments])


@dataclass
class Finding:
    """Something that a check found.

    Attributes:
        text: One line.
        mend: What to do: a command, or a sentence.
        files: Those that it is about; all of them are bad if ``stops``.
        stops: Whether training would not start; ``--skip-bad`` leaves the files out.
        check: The name of the check.
    """

    text: str
    mend: str = ''
    files: list[str] = field(default_factory=list)
    stops: bool = False
    check: str = ''


def findings_of(context: Context, checks: Sequence['Check'] | None = None) -> list[Finding]:
    """Runs checks, all of them if None: what stops training comes first."""
    found = []
    for check in CHECKS if checks is None else checks:
        for finding in check(context):
            finding.check = check.__name__
            found.append(finding)
    return sorted(found, key=lambda finding: not finding.stops)


def bad_files(findings: Sequence[Finding]) -> set[str]:
    """Files with which training does not start, and without which it might."""
    return {file for finding in findings if finding.stops for file in finding.files}


def unreadable(context: Context) -> Iterator[Finding]:
    """Images and label maps can be decoded to their end."""
    mend = 'save it anew' + ('' if context.found.labels is None else ', or --skip-bad')
    for one in context.found.looked:
        if one.problem is not None:
            file, reason = one.problem
            yield Finding(f'{file}: cannot be read ({reason})', mend, [file], True)


def no_labels(context: Context) -> Iterator[Finding]:
    """There are label maps for images."""
    found = context.found
    if found.labels is not None and not any(one.labels for one in found.looked):
        image, labels = Path(found.looked[0].image).name, Path(found.unpaired[0]).name
        yield Finding(
            f'no image of {found.images} has a label map in {found.labels}: names have to be the '
            f'same, but for suffixes; the first ones are {image} and {labels}',
            f'rename the label maps: {Path(image).stem}.png for {image}',
            stops=True,
        )


def without_labels(context: Context) -> Iterator[Finding]:
    """Every image has a label map."""
    files = [one.image for one in context.found.looked if one.labels is None]
    if context.found.labels is not None and 0 < len(files) < len(context.found.looked):
        yield Finding(
            f'{_count(files, "image")} without a label map: not trained on',
            f'draw one: {Path(context.found.labels, Path(files[0]).stem)}.png, ...',
            files,
        )


def without_image(context: Context) -> Iterator[Finding]:
    """Every label map has an image."""
    files = context.found.unpaired
    if files and context.found.pairs:
        yield Finding(
            f'{_count(files, "label map")} without an image of the same name: not used',
            f'add the image {Path(context.found.images, Path(files[0]).stem)}.jpg, ...',
            files,
        )


def one_name(context: Context) -> Iterator[Finding]:
    """A label map has one image, and an image one label map."""
    for files in context.found.doubled:
        yield Finding(
            f'{" and ".join(files)} have one name, so that it cannot be told which is meant',
            f'rename or remove one: mv {shlex.quote(files[-1])} ...',
            list(files),
            True,
        )


def unused(context: Context) -> Iterator[Finding]:
    """Other files lie elsewhere."""
    by_suffix = defaultdict(list)
    for file in context.found.unused:
        by_suffix[Path(file).suffix.lower() or Path(file).name].append(file)
    for suffix, files in by_suffix.items():
        mend = 'save it as PNG or JPEG' if suffix in ('.heic', '.avif', '.gif', '.raw') else ''
        if suffix in ('.jpg', '.jpeg'):  # only in the folder of label maps
            mend = 'JPEG changes class numbers: save label maps as PNG'
        elif suffix in ('.json', '.xml', '.txt') and context.found.labels is not None:
            if Path(files[0]).name == 'classes.txt':
                continue
            mend = 'annotations of another form: faseg convert --help'
        yield Finding(f'{_count(files, "file")} *{suffix} not used', mend, files)


def sizes(context: Context) -> Iterator[Finding]:
    """A label map is as large as its image."""
    for one in context.found.pairs:
        if one.label_size in (None, one.size):
            continue
        lying = one.turned in range(5, 9) and one.label_size == one.size[::-1]
        (height, width), (label_height, label_width) = one.size, one.label_size
        text = (
            f'{one.image} is {width} x {height} (width x height), but {one.labels} is '
            f'{label_width} x {label_height}'
        )
        mend = 'draw the labels on this image, or --skip-bad'
        if lying:
            text += f': the image is turned when it is shown (EXIF orientation {one.turned})'
            mend = (
                f'mogrify -auto-orient {shlex.quote(one.image)} would turn it for good; turn the '
                'label map the same way, or --skip-bad'
            )
        yield Finding(text, mend, [one.image], True)


def orientation(context: Context) -> Iterator[Finding]:
    """Images and label maps lie the same way."""
    files = [
        one.image
        for one in context.found.pairs
        if one.turned in range(2, 9)
        and (one.turned < 5 or one.size[0] == one.size[1])
        and one.label_size == one.size
    ]
    if files:
        yield Finding(
            f'{_count(files, "image")} turned when shown (EXIF orientation): sizes do not tell '
            'whether the label maps are turned too',
            f'look at {files[0]} and its label map',
            files,
        )


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
        f'{_count(coloured, "label map")} with colours where class numbers are needed: '
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
        'save them without smoothing; of one that is there: mogrify -threshold 50% '
        f'{shlex.quote(files[0])}',
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
            f'{pairs[0].labels} has {_values(wrong)}, no class: there are '
            f'{len(context.classes.names)}, with {_spelled(context.classes)}'
            + (f'; so have {len(pairs) - 1} more label maps' if pairs[1:] else ''),
            _naming(context, context.classes, wrong),
            [str(one.labels) for one in pairs],
            True,
        )


def _naming(context: Context, classes: Classes, wrong: Sequence[int]) -> str:
    """How values that are no class become classes, if they are a few that can be."""
    if len(wrong) > _SHOWN or not 0 <= wrong[0] <= wrong[-1] < IGNORE:
        return 'classes have values from 0 to 254: draw the labels anew, or --skip-bad'
    values = [*classes.number_of, *wrong]
    arguments = ['--classes', *classes.names, *(f'class{value}' for value in wrong)]
    if values != list(range(len(values))):
        arguments += ['--label-values', *map(str, values)]
    return f'name it: {context.command("check", *arguments)}, or --skip-bad'


def too_few(context: Context) -> Iterator[Finding]:
    """There is an image to train on, and one to validate on."""
    count = len(context.found.pairs)
    if count < 2:
        yield Finding(
            f'{_count(range(count), "image")} with a label map that can be used: two are needed, '
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
            f'no {where} shows {_listed(map(repr, missing))}: of {len(train)} label maps none '
            f'has such a pixel; they hold {_values(values)}',
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
                f'{context.classes.names[number]!r} is in {_count(files, "image")} only',
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
        yield Finding(f'{_count(files, "label map")} with nothing but ignored pixels', '', files)


def look_alike(context: Context) -> Iterator[Finding]:
    """No image to validate on looks the same as one to train on."""
    if context.parts is None:
        return
    shared = shared_looks(context.found.pairs, context.parts)
    if shared:
        train, val = shared[0]
        yield Finding(
            f'{_count(shared, "image")} to train on look like one to validate on, such as {train} '
            f'and {val}: metrics will be too good',
            'list whole scenes in a file of names: --val names.txt',
            [name for name, _ in shared],
        )


def _count(things: Sequence, what: str) -> str:
    return f'{len(things)} {what}{"s" if len(things) != 1 else ""}'


def _values(values: Iterable[int]) -> str:
    return _listed(map(str, sorted(values)))


def _listed(words: Iterable[str]) -> str:
    words = list(words)
    return ', '.join(words[:_SHOWN]) + (', ...' if words[_SHOWN:] else '')


def _spelled(classes: Classes) -> str:
    if classes.values is None:
        return f'values 0 to {len(classes.names) - 1}'
    return f'values {", ".join(map(str, classes.values))}'


Check = Callable[[Context], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    no_labels,
    unreadable,
    one_name,
    colours,
    black_and_white,
    smoothed,
    outside,
    absent,
    sizes,
    without_labels,
    without_image,
    orientation,
    rare,
    nothing_labelled,
    look_alike,
    unused,
)
# What may be otherwise once bad files are left out, and data are parted.
CHECKS_OF_PARTS: tuple[Check, ...] = (too_few, absent, rare, nothing_labelled, look_alike)
