"""``faseg convert``: annotations of labelling tools become label maps."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from ..errors import UserError
from .progress import progress

if TYPE_CHECKING:
    from ..apis.convert_labels import Converted

_SHOWN = 20  # lines of one kind


class Format(StrEnum):
    """What annotations are written in."""

    labelme = 'labelme'
    coco = 'coco'
    yolo = 'yolo'
    cvat = 'cvat'
    cityscapes = 'cityscapes'
    colours = 'colours'


def convert(
    form: Annotated[Format, Argument(metavar='FORMAT', help='Of the annotations.')],
    source: Annotated[Path, Argument(metavar='IN', help='File or folder of annotations.')],
    out: Annotated[Path, Argument(metavar='OUT', help='Folder for the label maps.')],
    classes: Annotated[
        list[str] | None,
        Option(
            metavar='NAME ...',
            help='Names in the order of their ids, after IN and OUT; all that are drawn.',
        ),
    ] = None,
    images: Annotated[
        Path | None, Option(help='Folder of the images, where they are not in the usual place.')
    ] = None,
    rest: Annotated[
        str | None,
        Option(
            help='Class of pixels that nobody painted and of classes that are not listed: "other" '
            'unless there is a "background". "ignore" leaves them out of training.'
        ),
    ] = None,
    boxes: Annotated[bool, Option('--boxes', help="Paint YOLO's boxes as rectangles.")] = False,
    colours: Annotated[
        Path | None,
        Option(help='Table of colour masks: lines like road:128,64,128 or road,128,64,128; JSON.'),
    ] = None,
    overwrite: Annotated[
        bool, Option('--overwrite', help='Write to OUT though something is in it.')
    ] = False,
) -> None:
    """Turn annotations into label maps to train on.

    FORMAT is `labelme`, `coco` (objects or panoptic), `yolo`, `cvat` (for images 1.1),
    `cityscapes` or `colours`.

    **Examples**

    - `faseg convert labelme photos/ masks/`
    - `faseg convert coco instances.json masks/ --images photos/ --classes other road car`
    - `faseg convert colours SegmentationClass/ masks/ --colours labelmap.txt`

    What is drawn later lies above; `docs/labels.md` says the rest. Exits with 1 if an image was
    left out.
    """
    from ..apis.convert_labels import convert_labels

    if form is Format.colours and colours is None:
        _need_table(source)
    done = convert_labels(
        form.value,
        source,
        out,
        classes=classes or None,
        images=images,
        rest=rest,
        boxes=boxes,
        table=colours,
        overwrite=overwrite,
        progress=lambda drawings: progress(drawings, 'Painting'),
    )
    _say_left_out(done.left_out, out)
    if not done.written:
        raise UserError('no label map could be written')
    _say_notes(done)
    _say_written(done, out)
    command = ['faseg', 'train', str(done.images), '--labels', str(out), '--classes']
    print(shlex.join([*command, *done.classes]))
    if done.left_out:
        raise Exit(1)


def _need_table(source: Path) -> None:
    """Lists the colours where there is no table of them, and says how to write one."""
    from ..labels.colours import count_colours, find_table
    from ..labels.fields import folder_of

    if not source.exists() or find_table(folder_of(source)):
        return
    counts = count_colours(source, lambda files: progress(files, 'Looking for colours'))
    print(f'{len(counts)} colours in {source}, by their share of pixels:')
    for colour, number in counts.most_common(_SHOWN):
        print(f'  {",".join(map(str, colour)):13} {number / counts.total():8.3%}')
    if len(counts) > 256:
        print('  so many come from a lossy format (JPEG) or from smoothed edges')
    raise UserError(
        'what do these colours mean? Write a line like road:128,64,128 for each to a file, and '
        'give it by --colours FILE'
    )


def _say_left_out(lines: list[str], out: Path) -> None:
    for line in lines[:_SHOWN]:
        print(f'left out  {line}', file=sys.stderr)
    if len(lines) > _SHOWN:
        from ..apis.convert_labels import LEFT_OUT_FILE

        more = f'and {len(lines) - _SHOWN} more'
        print(f'left out  {more}: all of them in {out / LEFT_OUT_FILE}', file=sys.stderr)


def _say_notes(done: 'Converted') -> None:
    """What a user may want to know, a line each."""
    rest = done.classes[done.rest] if done.rest < len(done.classes) else 'ignored'
    if done.unlisted:
        print(f'not among the classes, so {rest}: {_counts(done.unlisted)}')
    if done.without_area:
        print(f'without an area, so not painted: {done.without_area} points, lines and the like')
    for names, text in (
        (done.untold, 'turned by EXIF, and taken as drawn on the upright image'),
        (done.without_drawing, 'nobody drew on, so without a label map'),
        ([str(path) for path in done.older], 'in OUT from before, and not written now'),
    ):
        if names:
            more = f' and {len(names) - 1} more' if len(names) > 1 else ''
            print(f'{text}: {names[0]}{more}')
    never = [name for label, name in enumerate(done.classes) if not done.pixels[label]]
    if rest in never:
        print(f'no pixel is {rest!r}: --rest ignore leaves that class out')
    if set(never) - {rest}:
        print(f'never painted: {", ".join(name for name in never if name != rest)}')


def _say_written(done: 'Converted', out: Path) -> None:
    total = done.pixels.total()
    print(f'written   {len(done.written)} label maps to {out}')
    names: dict[int, Any] = dict(enumerate(done.classes)) | {255: 'ignored'}
    for label, count in sorted(done.pixels.items()):
        print(f'  {label:3} {names[label]}: {count / total:.2%} of pixels')


def _counts(counter: Any) -> str:
    from ..compat.torch_files import printable

    shown = [f'{count} {printable(name)}' for name, count in counter.most_common(_SHOWN)]
    return ', '.join(shown) + (', ...' if len(counter) > _SHOWN else '')
