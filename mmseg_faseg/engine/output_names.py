"""What validation and testing write keeps the subfolders of its images."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.engine import SegVisualizationHook

from ..compat.output_names import output_names
from .data_check import _leaves


@HOOKS.register_module()
class OutputNamesHook(Hook):
    """Names label maps and paintings by the image's path below the data set's folder of images.

    ``a/0.jpg`` and ``b/0.jpg`` become ``a/0.png`` and ``b/0.png`` of the folder that
    MMSegmentation's metrics write to, which without this hook have one ``0.png``. Files that differ
    in their suffix only keep it.
    """

    def before_val(self, runner: Runner) -> None:
        """Tells those that write the names of validation's images."""
        _tell_names(runner, runner.val_loop)

    def before_test(self, runner: Runner) -> None:
        """Tells those that write the names of the test's images."""
        _tell_names(runner, runner.test_loop)


def writers(runner: Runner, loop: Any) -> list[Any]:
    """The metrics and hooks that write something about each image of a loop."""
    metrics = getattr(getattr(loop, 'evaluator', None), 'metrics', ())
    writing = [metric for metric in metrics if getattr(metric, 'output_dir', None)]
    hooks = [hook for hook in runner.hooks if isinstance(hook, SegVisualizationHook) and hook.draw]
    return [*writing, *hooks]


def _tell_names(runner: Runner, loop: Any) -> None:
    writing = writers(runner, loop)
    names = _names(loop.dataloader.dataset) if writing else {}
    for writer in writing:
        writer.output_names = names


def _names(dataset: Any) -> dict[str, str]:
    """Names of all images of a data set, those below wrappers too."""
    paths, roots = [], []
    for leaf in _leaves(dataset):
        infos = (leaf.get_data_info(index) for index in range(len(leaf)))
        paths += [info['img_path'] for info in infos if 'img_path' in info]
        roots.append(leaf.data_prefix.get('img_path'))
    # Of several folders the one that they share, which is what None stands for.
    return output_names(paths, roots[0] if len(set(roots)) == 1 else None)
