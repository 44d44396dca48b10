"""Writes a trained segmentor as a file that runs without it, and checks that file on the spot."""

import json
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..datasets.broken_files import first_line
from ..errors import UserError
from ..export.agreement import Agreement, Result, median_seconds
from ..export.formats import FORMATS, Format, Run
from ..export.program import LARGEST
from ..files import check_output, whole_file
from .export_pictures import pictures_to_check_with
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
    config: str | Path | None = None,
    trust: bool = False,
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
        config: As of :func:`.trained_model.load_segmentor`.
        trust: As of :func:`.trained_model.load_segmentor`.

    Raises:
        UserError: An argument does not fit, a package is missing, the model cannot be exported, or
            the file does not give what the model gives. No file is left then.
    """
    target = Path(target).expanduser()
    kind = _format_of(target, precision)
    fixed = None if size is None else _parsed(size)
    trained = load_segmentor(checkpoint, config, 'cpu', trust)
    model = picture_model(trained)
    pictures = pictures_to_check_with(images, trained.cfg, fixed)
    made = kind(model, fixed, precision, _info(trained))
    with whole_file(target) as temporary, tempfile.TemporaryDirectory() as folder:
        made.write(temporary, scores)
        run = with_scores = _loaded(made, temporary)
        if not scores:  # another one that gives them, to compare them
            made.write(Path(folder, target.name), scores=True)
            with_scores = _loaded(made, Path(folder, target.name))
        reference = Reference(trained)
        agreement = {
            kind: Agreement.of(
                [reference.result(picture) for picture in some],
                [_result(run, with_scores, picture) for picture in some],
            )
            for kind, some in (('real', pictures.real), ('random', pictures.random))
            if some
        }
        _refuse_others(agreement, precision, target)
        timed = [*pictures.real, *pictures.random][0]
        eager, exported = median_seconds(
            lambda: reference.classes(timed), lambda: run(_as_input(timed))
        )
        others = [file for file in temporary.parent.iterdir() if file != temporary]
        for file in others:  # the weights before what reads them
            file.replace(target.with_name(file.name))
    files = [target, *(target.with_name(file.name) for file in others)]
    return Export(files, agreement, (eager, exported), timed.shape[:2], pictures.unreadable)


def _format_of(target: Path, precision: str) -> type[Format]:
    """The format of a file that can be written and checked here."""
    if target.suffix not in FORMATS:
        raise UserError(f'the file must end in {", ".join(FORMATS)}, got {target}')
    check_output(target, target.suffix)
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
    if not 1 <= min(sides) <= max(sides) <= LARGEST:
        raise UserError(
            f'--size is height and width in pixels, at most {LARGEST}, such as 360x480, '
            f'got {size!r}'
        )
    return sides


def _info(trained: TrainedModel) -> dict[str, str]:
    """What a file says of itself: JSON texts by name."""
    preprocessor = trained.model.data_preprocessor
    info = dict(classes=trained.classes, palette=trained.palette)
    if preprocessor._enable_normalize:
        info |= {name: getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std')}
    return {name: json.dumps(value) for name, value in info.items()}


def _loaded(made: Format, path: Path) -> Run:
    try:
        return made.load(path)
    except Exception as error:  # of each runtime its own
        raise UserError(f'what was made does not load: {first_line(error)}') from error


def _result(run: Run, with_scores: Run, picture: np.ndarray) -> Result:
    """Class map of a file, and class scores of the one that gives them."""
    try:
        results = run(_as_input(picture))
        if run is not with_scores:
            results = [results[0], with_scores(_as_input(picture))[1]]
    except Exception as error:  # of each runtime its own
        height, width = picture.shape[:2]
        raise UserError(
            f'what was made does not run on a picture of {height} x {width} ({first_line(error)}): '
            f'give the size of the pictures, --size {height}x{width}'
        ) from error
    return results[0][0], results[1][0]


def _refuse_others(agreement: dict[str, Agreement], precision: str, target: Path) -> None:
    """Raises UserError where too few pixels of a picture are of the same class."""
    decides = [*agreement]
    if precision != 'fp32':  # what a model makes of noise is chance where numbers are rounded
        decides = decides[:1]
    for kind in decides:
        if agreement[kind].worst < LEAST_EQUAL[precision]:
            raise UserError(
                f'{target} is not written: in a {kind} picture {agreement[kind].worst:.2%} of the '
                f'pixels have the class that PyTorch gives them, {LEAST_EQUAL[precision]:.1%} is '
                f'the least for {precision}'
            )


def _as_input(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
