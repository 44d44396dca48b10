"""A test set without labels is predicted; there is nothing to evaluate."""

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import LoadAnnotations
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.evaluator import DumpResults
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner
from mmseg.datasets.transforms import LoadBiomedicalAnnotation, LoadDepthAnnotation

from ..errors import UserError
from .data_check import _leaves
from .output_names import writers

_UNLABELLED = 'no image of the test set has labels'
_LABEL_LOADERS = (LoadAnnotations, LoadBiomedicalAnnotation, LoadDepthAnnotation)


class UnlabelledTestError(UserError):
    """A test set without labels shall be evaluated."""


@HOOKS.register_module()
class UnlabelledTestHook(Hook):
    """Lets predictions on a test set without labels be written.

    Where no image of the test set has labels and predictions are written or painted, transforms
    that would load labels are left out and metrics evaluate nothing. It comes before
    :class:`DataCheckHook`, which refuses sets of which some images have no labels.

    Raises:
        UnlabelledTestError: When a test starts that would evaluate such a set and write nothing.
    """

    def before_run(self, runner: Runner) -> None:
        """Looks at the test set, if it is a test that starts."""
        loop: Any = runner._test_loop
        if not isinstance(loop, BaseLoop):
            return
        leaves = [leaf for leaf in _leaves(loop.dataloader.dataset) if len(leaf)]
        if not leaves or any(_has_labels(leaf) for leaf in leaves):
            return
        writing = [one for one in writers(runner, loop) if getattr(one, 'keep_results', True)]
        writing += [one for one in loop.evaluator.metrics if isinstance(one, DumpResults)]
        evaluating = [
            one for one in loop.evaluator.metrics if not getattr(one, 'format_only', True)
        ]
        if writing:
            _load_no_labels(leaves)
            _evaluate_nothing(loop.evaluator.metrics, evaluating, writing)
            print_log(f'{_UNLABELLED}: predictions are written, nothing is evaluated', 'current')
        elif evaluating:
            raise UnlabelledTestError(
                f'{_UNLABELLED} ({_missing(leaves[0])}), so there is nothing to evaluate: '
                '--out FOLDER (test_evaluator.output_dir) writes predictions'
            )


def _load_no_labels(datasets: list[BaseDataset]) -> None:
    for transforms in (some for dataset in datasets for some in _lists(dataset.pipeline)):
        transforms[:] = [one for one in transforms if not isinstance(one, _LABEL_LOADERS)]


def _evaluate_nothing(metrics: list, evaluating: list, writing: list) -> None:
    for metric in evaluating:
        if metric in writing:
            metric.format_only = True
        else:
            metrics.remove(metric)


def _has_labels(dataset: BaseDataset) -> bool:
    """Whether a data set's pipeline gives labels, if not of the first image then of another."""
    try:
        samples = dataset.prepare_data(0)['data_samples']
    except Exception:  # perhaps the image itself cannot be read, which is not for here to say
        samples = []
    views = samples if isinstance(samples, list) else [samples]  # of test-time augmentation
    if any(key.startswith('gt_') for view in views for key in view.keys()):  # noqa: SIM118
        return True
    loads = any(
        isinstance(one, _LABEL_LOADERS) for some in _lists(dataset.pipeline) for one in some
    )
    return loads and any(map(fileio.exists, _label_files(dataset)))


def _label_files(dataset: BaseDataset) -> Iterator[str]:
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    yield from (info['seg_map_path'] for info in infos if info.get('seg_map_path'))


def _missing(dataset: BaseDataset) -> str:
    file = next(_label_files(dataset), None)
    if file is None:
        return f'{type(dataset).__name__} lists none'
    return f'{file}: no such file' if not fileio.exists(file) else 'its pipeline loads none'


def _lists(step: Any) -> Iterator[list]:
    """Every list of transforms below a composed one, those inside other transforms too."""
    for name in ('transforms', 'subroutines'):
        inner = getattr(step, name, None)
        if isinstance(inner, list):
            yield inner
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None:
                yield from _lists(one)
