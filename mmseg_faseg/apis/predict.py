"""Predicts files and writes what comes out: label maps, pictures, videos and tables."""

import itertools
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ..checkpoints.read import check_checkpoint
from ..datasets.broken_files import first_line
from ..datasets.read_image import read_image
from ..errors import UserError
from ..explain.legend import room, with_legend
from ..files import check_folder, make_folder, whole_file
from .area_tables import AreaSum, check_tables, write_table
from .checkpoint import find_checkpoint
from .inputs import Input, find_inputs
from .prediction import Prediction
from .prediction_files import save_label_map, save_overlay
from .predictor import Predictor, batches
from .records import Records, file_state
from .videos import Frame, check_video_support, count_frames, read_frames, write_frames

OVERLAYS = ('jpg', 'png', 'none')
_OF_A_TABLE = ('input', 'width', 'height', 'frames', 'files', 'classes')


@dataclass
class Outcome:
    """How it went.

    Attributes:
        done: How many inputs were predicted.
        resumed: How many were done before.
        skipped: Files that are neither images nor videos.
        failed: What could not be predicted, and why.
    """

    done: int = 0
    resumed: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class _FailedError(Exception):
    """An input that cannot be predicted, as opposed to results that cannot be written."""


def predict(
    checkpoint: str | Path,
    inputs: Sequence[str],
    out: str | Path,
    *,
    areas: Sequence[str | Path] = (),
    overlays: str = 'jpg',
    resume: bool = False,
    tile: int | None = None,
    overlap: float = 0.25,
    tta: bool = False,
    amp: bool = False,
    **settings: Any,
) -> Outcome:
    """Predicts images and videos and writes, below ``out``, files under the inputs' own names.

    ``labels/NAME.png`` holds the number of each pixel's class, with a palette;
    ``overlays/NAME.jpg`` the image with its classes and a legend, ``overlays/NAME.mp4`` that of a
    video. A broken input is named and the others go on.

    Args:
        checkpoint: As of :class:`.predictor.Predictor`.
        inputs: As of :func:`.inputs.find_inputs`.
        out: Folder to write to.
        areas: Tables to write of the share, pixels and mean probability of each class in each
            input: files that end in ``.csv`` or ``.json``.
        overlays: Format of overlays of images, ``'jpg'`` or ``'png'``, or ``'none'`` for none.
        resume: Whether to leave out what is done already.
        tile: As of :class:`.predictor.Predictor`.
        overlap: As of :class:`.predictor.Predictor`.
        tta: As of :class:`.predictor.Predictor`.
        amp: As of :class:`.predictor.Predictor`.
        **settings: Of :class:`.predictor.Predictor` too: ``config``, ``device``, ``batch_size``,
            ``trust``.

    Raises:
        UserError: Before anything is written, if an argument or the model is wrong or there is
            nothing to predict; later, if results cannot be written.
    """
    if overlays not in OVERLAYS:
        raise UserError(f'overlays must be one of {", ".join(OVERLAYS)}, got {overlays!r}')
    check_tables(areas)
    check_folder(out, 'out')
    found = find_inputs(inputs, out)
    if not found.inputs:
        reasons = [*found.unreadable, *(f'{file} is neither' for file in found.skipped)]
        more = f' ({"; ".join(reasons[:3])})' if reasons else ''
        raise UserError(f'there is no image or video in {" ".join(inputs)}{more}')
    if any(one.is_video for one in found.inputs):
        check_video_support()
    checkpoint = find_checkpoint(checkpoint)
    check_checkpoint(checkpoint)
    how: dict[str, Any] = dict(tile=tile, overlap=overlap, tta=tta, amp=amp)
    config = settings.get('config')
    told = dict(how, overlays=overlays, config=None if config is None else str(config))
    records = Records(Path(out), _of_file(checkpoint) | told, resume)
    waiting = [one for one in found.inputs if not records.is_done(one)]
    outcome = Outcome(resumed=len(found.inputs) - len(waiting), skipped=found.skipped)
    predictor = Predictor(checkpoint, **how, **settings) if waiting else None
    with _progress() as progress:
        run = _Run(records, progress, outcome, overlays)
        for reason in found.unreadable:
            run.fail(reason)
        if predictor is not None:
            run.write(predictor, waiting)
    entries = [records.done[one.name] for one in found.inputs if records.is_done(one)]
    for table in areas:
        write_table(table, [{key: entry[key] for key in _OF_A_TABLE} for entry in entries])
    return outcome


def _of_file(checkpoint: str) -> dict[str, Any]:
    return dict(zip(('checkpoint', 'bytes', 'changed'), file_state(checkpoint), strict=True))


def _progress() -> Progress:
    return Progress(
        TextColumn('{task.description}', markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
    )


class _Run:
    """Predicts inputs one after the other and writes what comes out."""

    def __init__(
        self, records: Records, progress: Progress, outcome: Outcome, overlays: str
    ) -> None:
        self.records = records
        self.progress = progress
        self.outcome = outcome
        self.overlays = overlays

    def write(self, predictor: Predictor, inputs: Sequence[Input]) -> None:
        """Writes the results of inputs."""
        self.predictor = predictor
        self.records.begin()
        self.bar = self.progress.add_task('predict', total=len(inputs))
        for is_video, alike in itertools.groupby(inputs, key=lambda one: one.is_video):
            if is_video:
                for one in alike:
                    self._video(one)
                continue
            for some in batches(list(alike), predictor.batch_size):
                self._images(some)

    def fail(self, reason: str) -> None:
        """Lists what cannot be predicted."""
        self.outcome.failed.append(reason)
        self._say(f'failed: {reason}')

    def _say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _done(self, one: Input, files: list[str], areas: AreaSum) -> None:
        self.records.add(one, files, areas.entry())
        self.outcome.done += 1
        self.progress.advance(self.bar)

    def _failed(self, one: Input, error: BaseException) -> None:
        reason = str(error) if isinstance(error, UserError) else first_line(error)
        self.fail(reason if one.path in reason else f'{one.path}: {reason}')
        self.progress.advance(self.bar)

    def _images(self, inputs: Sequence[Input]) -> None:
        images = []
        for one in inputs:
            try:
                images.append((one, self._read(one)))
            except Exception as error:  # one broken file never stops the others
                self._failed(one, error)
        for one, prediction in self._predictions(images):
            labels = Path('labels', f'{one.name}.png')
            overlay = Path('overlays', f'{one.name}.{self.overlays}')
            save_label_map(self.records.folder / labels, prediction)
            files = [labels]
            if self.overlays != 'none':
                written = save_overlay(self.records.folder / overlay, prediction)
                files.append(written.relative_to(self.records.folder))
            areas = AreaSum()
            areas.add(prediction)
            self._done(one, list(map(str, files)), areas)

    def _read(self, one: Input) -> np.ndarray:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter('always')
            image = read_image(one.path)
        for note in notes:
            self._say(f'note: {note.message}')
        return image

    def _predictions(
        self, images: Sequence[tuple[Input, np.ndarray]]
    ) -> Iterator[tuple[Input, Prediction]]:
        try:
            found = self.predictor([image for _, image in images], channels='rgb')
        except Exception as error:  # as above
            if len(images) == 1:
                self._failed(images[0][0], error)
            else:
                for one in images:
                    yield from self._predictions([one])
            return
        yield from zip((one for one, _ in images), found, strict=True)

    def _video(self, one: Input) -> None:
        areas = AreaSum()
        file = Path('overlays', f'{one.name}.mp4')
        path = self.records.folder / file
        try:
            if self.overlays == 'none':
                for _ in self._painted(one, areas):
                    pass
                self._done(one, [], areas)
                return
            make_folder(path.parent)
            with whole_file(path) as temporary:
                write_frames(temporary, self._painted(one, areas))
        except _FailedError as error:
            self._failed(one, error.__cause__ or error)
        else:
            self._done(one, [str(file)], areas)

    def _painted(self, one: Input, areas: AreaSum) -> Iterator[Frame]:
        """The frames of a video with their classes and a legend.

        Raises:
            _FailedError: They cannot be read or predicted.
        """
        bar = self.progress.add_task(one.name, total=None)
        try:
            self.progress.update(bar, total=count_frames(one.path))
            for some in batches(read_frames(one.path), self.predictor.batch_size):
                found = self.predictor([frame.image for frame in some], channels='rgb')
                for frame, prediction in zip(some, found, strict=True):
                    areas.add(prediction)
                    yield Frame(_with_steady_legend(prediction), frame.seconds)
                    self.progress.advance(bar)
        except Exception as error:  # as above
            raise _FailedError from error
        finally:
            self.progress.remove_task(bar)


def _with_steady_legend(prediction: Prediction) -> np.ndarray:
    """An overlay whose size and order of classes are the same for all frames of a video."""
    painted = prediction.overlay(legend=False)
    widest = [((0, 0, 0), f'{name}  100.0%') for name in prediction.classes]
    size = painted.shape[0], room(painted.shape, widest)[1]
    present = [name for name in prediction.classes if name in prediction.pixels]
    return with_legend(painted, [prediction.legend_entry(name) for name in present], size)
