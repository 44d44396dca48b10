"""Reports what runs came to, alone or beside each other, as one HTML page."""

import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import mmcv
import mmseg
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from mmengine.utils.dl_utils import collect_env
from mmseg.registry import DATASETS
from rich.console import Console
from rich.progress import track
from torch import nn

from ..engine.checks.names import CHECKS
from ..engine.checks.pairs import Expected
from ..engine.checks.report import skipped_checks
from ..engine.data_roots import check_data_roots
from ..errors import UserError
from ..files import check_output, whole_file
from ..report.data import count_part, spread
from ..report.evaluation import evaluate
from ..report.notes import about_curves, about_evaluation, about_part
from ..report.page import render
from ..report.pictures import Scenes
from ..report.run import Judged, Run, Text, environment_of
from ..report.scalars import read_curves
from ..version import __version__
from .model import load_model
from .run_files import RunFiles, find_run


def report(
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    max_images: int | None = None,
    data_root: str | None = None,
    trust: bool = False,
) -> Path:
    """Writes a report: curves, metrics of classes, images, data, config, environment.

    The test set of the run's config is predicted once, with its best checkpoint or else its newest.
    What is missing, such as the data, is left out, and the page says so.

    Args:
        runs: Work dirs, or checkpoints in them, of semantic segmentation; several are compared.
        out: The file to write, ending in ``.html``; ``report.html`` in the work dir of the run if
            None, or ``comparison.html`` in that of the first.
        max_images: Of each part of the data, evenly spread; all if None.
        data_root: Where the data are now, if not where the config says.
        trust: As of :func:`mmseg_faseg.apis.load_stored_config`.

    Returns:
        The file.

    Raises:
        UserError: A run has no checkpoint or config, or they do not fit; runs have different
            classes; or the file cannot be written.
    """
    if not runs:
        raise UserError('report takes at least one run')
    if max_images is not None and max_images < 1:
        raise UserError(f'--max-images must be at least 1, got {max_images}')
    options = {} if data_root is None else {'data_root': data_root}
    found = [find_run(run, options, trust) for run in runs]
    file = Path(out or found[0].folder / ('comparison.html' if found[1:] else 'report.html'))
    check_output(file, '.html')
    with (
        DefaultScope.overwrite_default_scope('mmseg'),
        TemporaryDirectory() as folder,
    ):
        classes = _common_classes(found)
        read = [
            _read(run, classes, Path(folder, str(place)), max_images)
            for place, run in enumerate(found)
        ]
        page = render(read, __version__)
    with whole_file(file) as temporary:
        temporary.write_text(page, encoding='utf-8')
    return file


def _common_classes(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """The classes of all runs, which have to be the same."""
    first, *others = (_classes_of(run) for run in runs)
    for run, classes in zip(runs[1:], others, strict=True):
        if classes != first:
            pairs = enumerate(zip_longest(first, classes))
            index, (ours, theirs) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
            raise UserError(
                f'{runs[0].name} and {run.name} have different classes, {len(first)} and '
                f'{len(classes)}, and cannot be compared: class {index} is {ours!r} and {theirs!r}'
            )
    return first


def _classes_of(run: RunFiles) -> tuple[str, ...]:
    """The names of the classes that the run's data have."""
    if run.cfg.get('default_scope', 'mmseg') != 'mmseg':
        raise UserError(
            f'{run.name} is no semantic segmentation, which is what can be reported: '
            'tools/test.py gives the metrics of detectors'
        )
    loader = run.cfg.get('test_dataloader') or run.cfg.get('val_dataloader') or {}
    if 'dataset' not in loader:
        raise UserError(f'{run.config_file} has no test_dataloader with a dataset')
    try:
        dataset = DATASETS.build({**loader['dataset'], 'lazy_init': True})
    except Exception as error:  # whatever its constructor raises
        raise UserError(f'{run.config_file}: the data set cannot be built: {error}') from error
    classes = dataset.metainfo.get('classes')
    if not classes:
        raise UserError(f'{run.config_file}: the data set names no classes')
    return tuple(classes)


def _read(files: RunFiles, classes: tuple[str, ...], folder: Path, limit: int | None) -> Run:
    """Reads a run and predicts its test set; predictions are kept in ``folder``."""
    model = load_model(files.cfg, files.entries, str(files.checkpoint))
    expected = Expected.by(model)
    if expected is None:
        raise UserError(f'the model of {files.config_file} has no decode_head with classes')
    run = Run(
        name=files.name,
        classes=classes,
        ignore_index=expected.ignore_index,
        checkpoint=_checkpoint_facts(files),
        config=Text(str(files.config_file), files.config_text),
        environment=environment_of(files.folder) or _environment_now(),
        curves=read_curves(files.folder),
    )
    run.notes += about_curves(run.curves)
    skipped = skipped_checks(files.cfg.get('skip_checks'), CHECKS)
    parts = _parts_of(files)
    for name, cfg in parts.items():
        try:
            dataset = _build_dataset(cfg)
            counting = _progress(f'{run.name}: counting pixels of {name}')
            part = count_part(name, dataset, expected, skipped, limit, counting)
            run.parts.append(part)
            run.notes += about_part(part)
            if name == list(parts)[-1]:
                run.judged = _judge(files, model, dataset, folder, limit)
                run.notes += about_evaluation(run.judged.evaluation)
        except UserError as error:
            run.notes.append(f'no {name} data: {error}')
    return run


def _judge(
    files: RunFiles, model: nn.Module, dataset: BaseDataset, folder: Path, limit: int | None
) -> Judged:
    folder.mkdir()
    scenes = Scenes(dataset, folder)
    evaluator = files.cfg.get('test_evaluator') or files.cfg.get('val_evaluator') or []
    metrics = list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]
    indices = _progress(f'{files.name}: predicting')(spread(len(dataset), limit))
    return Judged(evaluate(model, dataset, indices, metrics, scenes.keep), scenes)


def _parts_of(files: RunFiles) -> dict[str, dict]:
    """Configs of data sets by part; the last is judged, and is there."""
    loaders = {part: files.cfg.get(f'{part}_dataloader') or {} for part in ('train', 'val', 'test')}
    parts = {part: loader['dataset'] for part, loader in loaders.items() if 'dataset' in loader}
    if 'test' in parts and parts.get('val') == parts['test']:
        del parts['val']
    return parts


def _build_dataset(cfg: dict) -> BaseDataset:
    try:
        check_data_roots(cfg)
    except FileNotFoundError as error:
        advice = str(error).replace('pass another data_root', 'give another --data-root')
        raise UserError(advice) from None
    return DATASETS.build(copy.deepcopy(cfg))


def _checkpoint_facts(files: RunFiles) -> dict[str, str]:
    stat = files.checkpoint.stat()
    return {
        'file': str(files.checkpoint),
        'iteration': str(files.meta.get('iter', 'not said')),
        'written': str(files.meta.get('time', 'not said')),
        'size': f'{stat.st_size / 2**20:.1f} MiB',
    }


def _environment_now() -> Text:
    versions = dict(MMCV=mmcv.__version__, MMSegmentation=mmseg.__version__)
    found = {**collect_env(), **versions, 'mmseg_faseg': __version__}
    text = '\n'.join(f'    {name}: {value}' for name, value in found.items())
    return Text('this machine, now: the work dir has no log', text)


def _progress(what: str) -> Callable[[Sequence[int]], Iterable[int]]:
    """Shows on stderr how far a loop is; where that is no terminal, a line when it begins."""
    console = Console(stderr=True)
    quiet = not console.is_terminal

    def show(indices: Sequence[int]) -> Iterable[int]:
        if quiet:
            print(f'{what}, {len(indices)} images', file=sys.stderr, flush=True)
        return track(indices, what, console=console, transient=True, disable=quiet)

    return show
