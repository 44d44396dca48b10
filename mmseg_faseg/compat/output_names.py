"""Names for what is written about an image: its path below a folder that all images share.

MMSegmentation names label maps and paintings by the last part of the image's path, so ``a/0.jpg``
and ``b/0.jpg`` are written to one file. Where names are known, its metrics, its visualization hook
and its inferencer write to subfolders instead.
"""

import functools
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.utils import mkdir_or_exist
from mmengine.visualization import LocalVisBackend
from mmseg.apis import MMSegInferencer
from mmseg.engine import SegVisualizationHook
from mmseg.evaluation import CityscapesMetric, DepthMetric, IoUMetric


def output_names(paths: Iterable[str], root: str | None = None) -> dict[str, str]:
    """Names of outputs, different for different files.

    Args:
        paths: Of images.
        root: Folder whose subfolders are kept; the folder that all images share where some are not
            below it or it is None.

    Returns:
        For each path its name, such as ``'a/0'`` for ``'root/a/0.jpg'``. It ends in the file's
        suffix where another file differs in nothing else.
    """
    files = {path: osp.abspath(path) for path in paths}
    if not files:
        return {}
    shared = osp.commonpath([osp.dirname(file) for file in files.values()])
    if root is not None and osp.commonpath([osp.abspath(root), shared]) == osp.abspath(root):
        shared = osp.abspath(root)
    relative = {path: osp.relpath(file, shared) for path, file in files.items()}
    # By file: one that is listed twice is no clash.
    names = {file: osp.splitext(file)[0] for file in relative.values()}
    while clashes := {name for name, count in Counter(names.values()).items() if count > 1}:
        names = {file: file if name in clashes else name for file, name in names.items()}
    return {path: names[file] for path, file in relative.items()}


def keep_subfolders() -> None:
    """Has MMSegmentation write to subfolders. Calling it twice is harmless.

    Metrics and the hook do where their attribute ``output_names``, a result of
    :func:`output_names`, knows the image; the inferencer names a call's images itself.
    """
    wrappers: dict[tuple[type, str], Callable] = {
        **{(metric, 'process'): _sample_by_sample for metric in _METRICS},
        (SegVisualizationHook, '_after_iter'): _output_by_output,
        (MMSegInferencer, 'visualize'): _input_by_input,
        (LocalVisBackend, 'add_image'): _with_its_folder,
    }
    for (owner, name), wrapper in wrappers.items():
        method = getattr(owner, name)
        if not hasattr(method, '_keeps_subfolders'):
            wrapped = functools.wraps(method)(wrapper(method))
            vars(wrapped)['_keeps_subfolders'] = True
            setattr(owner, name, wrapped)


_METRICS = (IoUMetric, CityscapesMetric, DepthMetric)  # those that write predictions


def _sample_by_sample(process: Callable) -> Callable:
    def wrapper(self: BaseMetric, data_batch: Any, data_samples: Sequence[dict]) -> None:
        names, folder = getattr(self, 'output_names', {}), self.output_dir
        for sample in data_samples:
            name = names.get(sample.get('img_path')) if folder else None
            if name is not None:
                self.output_dir = osp.join(folder, osp.dirname(name))
                mkdir_or_exist(self.output_dir)
                sample = {**sample, 'img_path': f'{name}.png'}  # the metric drops one suffix
            try:
                process(self, data_batch, [sample])
            finally:
                self.output_dir = folder

    return wrapper


def _output_by_output(after_iter: Callable) -> Callable:
    def wrapper(
        self: SegVisualizationHook, runner: Any, batch_idx: int, data_batch: Any, outputs: Sequence,
        mode: str = 'val',
    ) -> None:  # fmt: skip
        names, visualizer = getattr(self, 'output_names', {}), self._visualizer
        if not names or mode == 'train':
            after_iter(self, runner, batch_idx, data_batch, outputs, mode)
            return
        for output in outputs:
            # The hook adds the last part of the image's path, with its suffix.
            folder = osp.dirname(names.get(output.img_path, ''))
            self._visualizer = _InFolder(visualizer, folder) if folder else visualizer
            try:
                after_iter(self, runner, batch_idx, data_batch, [output], mode)
            finally:
                self._visualizer = visualizer

    return wrapper


class _InFolder:
    """A visualizer that puts a folder before the name of what is drawn."""

    def __init__(self, visualizer: Any, folder: str) -> None:
        self.visualizer = visualizer
        self.folder = folder

    def add_datasample(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.visualizer.add_datasample(osp.join(self.folder, name), *args, **kwargs)


def _input_by_input(visualize: Callable) -> Callable:
    def wrapper(
        self: MMSegInferencer, inputs: list, preds: list, *args: Any, img_out_dir: str = '',
        **kwargs: Any,
    ) -> list | None:  # fmt: skip
        if not img_out_dir:
            return visualize(self, inputs, preds, *args, **kwargs)
        names = output_names(one for one in inputs if isinstance(one, str))
        drawn: list = []
        for one, pred in zip(inputs, preds, strict=True):
            folder = osp.dirname(names[one]) if isinstance(one, str) else ''
            kwargs['img_out_dir'] = osp.join(img_out_dir, folder)
            drawn += visualize(self, [one], [pred], *args, **kwargs) or []
        return drawn or None

    return wrapper


def _with_its_folder(add_image: Callable) -> Callable:
    def wrapper(self: LocalVisBackend, name: str, *args: Any, **kwargs: Any) -> None:
        if osp.dirname(name):
            folder = self.experiment._img_save_dir  # known once the experiment is asked for
            mkdir_or_exist(osp.join(folder, osp.dirname(name)))
        add_image(self, name, *args, **kwargs)

    return wrapper
