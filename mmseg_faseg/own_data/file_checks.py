"""Checks of files: which can be read and belong together, how large they are and how they lie.

Each is a generator of what it finds and has the check's name.
"""

import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from .finding import Context, Finding, counted


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
            f'{counted(files, "image")} without a label map: not trained on',
            f'draw one: {Path(context.found.labels, Path(files[0]).stem)}.png, ...',
            files,
        )


def without_image(context: Context) -> Iterator[Finding]:
    """Every label map has an image."""
    files = context.found.unpaired
    if files and context.found.pairs:
        yield Finding(
            f'{counted(files, "label map")} without an image of the same name: not used',
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
        yield Finding(f'{counted(files, "file")} *{suffix} not used', mend, files)


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
            f'{counted(files, "image")} turned when shown (EXIF orientation): sizes do not tell '
            'whether the label maps are turned too',
            f'look at {files[0]} and its label map',
            files,
        )
