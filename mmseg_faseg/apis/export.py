"""Writes a trained segmentor as a file that runs without it, and checks that file on the spot."""

import json
import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..export.agreement import Agreement, Result, median_seconds
from ..export.formats import FORMATS, Format, Run
from ..files import check_output, whole_file
from .export_pictures import Pictures, pictures_to_check_with
from .exportable import Reference, picture_model
from .trained_model import TrainedModel, load_segmentor

# The least share of pixels whose class has to be the model's, in each picture.
LEAST_EQUAL = {'fp32': 0.999, 'fp16': 0.99, 'int8': 0.95}


class Export(NamedTuple):
    """What was written, and how it compares to the model.

    Attributes:
        files: The file, and what belongs to it.
        agreement: On pictures by kind, 'real' and 'random'.
        seconds: Medians of a picture in PyTorch and from the file.
        timed: Height and width of that picture.
        unreadable: Pictures that could not be read, and why.
    """

    files: list[Path]
    agreement: dict[str, Agreement]
    seconds: tuple[float, float]
    timed: tuple[int, int]
    unreadable: list[str]


def export(
    checkpoint: str | Path,
    target: str | Path,
    *,
    scores: bool = False,
    size: str | None = None,
    precision: str = 'fp32',
    images: str | Path | None = None,
) -> Export:
    """Exports a segmentor: from a picture, (1, 3, H, W) uint8 RGB, to its class map.

    The file gets its name once it gives what the model gives in PyTorch.

    Args:
        checkpoint: A file, or the work dir of a run.
        target: What to write: ``.onnx``, ``.pt2`` or ``.xml``.
        scores: Whether the file gives class scores too, (1, K, H, W).
        size: Height and width of the pictures that the file takes, ``'360x480'``; all if None.
        precision: 'fp32', 'fp16' or 'int8'.
        images: A picture, or a folder of some, to check with; those of the model's test data if
            None, as far as they are there.

    Raises:
        UserError: An argument does not fit, a package is missing, the model cannot be exported, or
            the file does not give what the model gives. No file is left then.
    """
    target = Path(target).expanduser()
    kind = _format_of(target, precision)
    fixed = None if size is None else _parsed(size)
    trained = load_segmentor(checkpoint, device='cpu')
    model = picture_model(trained)
    pictures = pictures_to_check_with(images, trained.cfg, fixed)
    made = kind(model, fixed, precision, _info(trained))
    with whole_file(target) as temporary, tempfile.TemporaryDirectory() as folder:
        made.write(temporary, scores)
        with_scores = temporary
        if not scores:  # the same with scores, to compare those
            with_scores = Path(folder, target.name)
            made.write(with_scores, True)
        reference = Reference(trained)
        agreement = _agreement(reference, made.load(with_scores), pictures, target, precision)
        run = made.load(temporary)
        timed = next(iter(pictures.real + pictures.random))
        seconds = median_seconds(lambda: reference.classes(timed), lambda: run(_as_input(timed)))
        companions = [file for file in temporary.parent.iterdir() if file != temporary]
        for file in companions:  # the weights before what reads them
            file.replace(target.with_name(file.name))
    files = [target, *(target.with_name(file.name) for file in companions)]
    return Export(files, agreement, (seconds[0], seconds[1]), timed.shape[:2], pictures.unreadable)


def _format_of(target: Path, precision: str) -> type[Format]:
    """The format of a file that can be written and checked here."""
    if target.suffix not in FORMATS:
        raise UserError(f'the file must end in {", ".join(FORMATS)}, got {target}')
    check_output(target, target.suffix)
    folder = target.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f'nothing can be written to {folder}')
    kind = FORMATS[target.suffix]
    if precision not in kind.precisions:
        raise UserError(
            f'{target.suffix} takes {", ".join(kind.precisions)}, got {precision}: .onnx takes all'
        )
    missing = [name for name in kind.packages if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{target.suffix} needs {', '.join(missing)}: pip install 'mmseg_faseg[export]'"
        )
    return kind


def _parsed(size: str) -> tuple[int, int]:
    found = re.fullmatch(r'(\d{1,5})[xX×](\d{1,5})', size)
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(sides) < 1:
        raise UserError(f'--size is height and width in pixels, such as 360x480, got {size!r}')
    return sides


def _info(trained: TrainedModel) -> dict[str, str]:
    """What a file says of itself: JSON texts by name."""
    preprocessor = trained.model.data_preprocessor
    info = dict(classes=trained.classes, palette=trained.palette)
    if preprocessor._enable_normalize:
        info |= {name: getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std')}
    return {name: json.dumps(value) for name, value in info.items()}


def _agreement(
    reference: Reference, run: Run, pictures: Pictures, target: Path, precision: str
) -> dict[str, Agreement]:
    found = {}
    for kind in ('real', 'random'):
        some = getattr(pictures, kind)
        if some:
            expected = [reference.result(picture) for picture in some]
            found[kind] = Agreement.of(expected, [_result(run, picture) for picture in some])
    # Noise says little of a model in less than full precision, whose own results are chance there.
    decides = [*found] if precision == 'fp32' else [*found][:1]
    for kind in decides:
        if found[kind].worst < LEAST_EQUAL[precision]:
            raise UserError(
                f'{target} is not written: on a {kind} picture {found[kind].worst:.2%} of the '
                f'pixels get the class that PyTorch gives them, {LEAST_EQUAL[precision]:.1%} is '
                f'the least for {precision}'
            )
    return found


def _result(run: Run, picture: np.ndarray) -> Result:
    try:
        classes, scores = run(_as_input(picture))
    except Exception as error:  # of each runtime its own
        height, width = picture.shape[:2]
        reason = next(iter(str(error).split('\n')))[:200]
        raise UserError(
            f'the file does not run on a picture of {height} x {width} ({reason}): give the size '
            f'of the pictures, --size {height}x{width}'
        ) from error
    return classes[0], scores[0]


def _as_input(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
