"""Logs what queries look at while a model is being trained."""

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.distributed.fsdp import FSDPModule

from .explanation import ModelView, view_of
from .focus import QueryFocus, mean_by_layer
from .numbers import FocusNumbers, mean_numbers
from .pictures import draw_focus, pixels_of
from .recorder import mask_head_of


@HOOKS.register_module()
class FocusLogHook(Hook):
    """Sends numbers and a picture about a validation image to all of the visualizer's back ends.

    For each class found in it, the query that adds most to it is looked at. The numbers are those
    of :class:`mmseg_faseg.explain.numbers.FocusNumbers`, averaged over these queries:
    ``focus/inside/layer_3`` of each layer, ``focus/inside`` of all but those of high-resolution
    attention. Nothing is drawn at random: training is the same with and without it.

    Args:
        interval: Iterations between two pictures, at least 1.
        image: Index of the image in the validation set.

    Raises:
        ValueError: An argument is out of range, there is no validation set, the model has no
            decoder that can be recorded, or processes share its parameters.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 1000, image: int = 0) -> None:
        if interval < 1:
            raise ValueError(f'FocusLogHook.interval must be at least 1, got {interval}')
        if image < 0:
            raise ValueError(f'FocusLogHook.image must be at least 0, got {image}')
        self.interval = interval
        self.image = image

    def before_train(self, runner: Runner) -> None:
        """Sees that there is something to look at."""
        if runner.val_loop is None:
            raise ValueError('FocusLogHook looks at a validation image, and there is no val_loop')
        count = len(runner.val_loop.dataloader.dataset)
        if self.image >= count:
            raise ValueError(
                f'FocusLogHook.image is {self.image}, but the validation set has {count} images, '
                'from 0'
            )
        if any(isinstance(module, FSDPModule) for module in runner.model.modules()):
            raise ValueError(
                'FocusLogHook runs the whole model in one process, and ShardedRunner shares it '
                'among all: leave one of the two out'
            )
        try:
            mask_head_of(_unwrapped(runner.model))
        except TypeError as error:
            raise ValueError(f'FocusLogHook: {error}') from None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Logs every ``interval`` iterations."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        dataset = runner.val_loop.dataloader.dataset
        classes, palette = dataset.metainfo['classes'], dataset.metainfo.get('palette') or ()
        model = _unwrapped(runner.model)
        model.eval()
        view = view_of('model', model, dataset[self.image], classes, palette)
        queries = _main_queries(view)
        model.train()
        step = runner.iter + 1
        runner.visualizer.add_scalars(_scalars(queries), step=step)
        # MLflow tells by the name what kind of file it writes.
        picture = pixels_of(draw_focus(view.image, queries, classes))
        runner.visualizer.add_image('focus.png', picture, step=step)


def _main_queries(view: ModelView) -> list[QueryFocus]:
    return [view.focus_of(query, label) for label, query in view.class_map.main_queries()]


def _scalars(queries: list[QueryFocus]) -> dict[str, float]:
    """Numbers by name, without those that are nan."""
    named = {'': mean_numbers([query.mean for query in queries])}
    for layer, numbers in enumerate(mean_by_layer(queries), 1):
        named[f'/layer_{layer}'] = numbers
    return {
        f'focus/{field}{name}': getattr(numbers, field)
        for name, numbers in named.items()
        for field in FocusNumbers._fields
        if not math.isnan(getattr(numbers, field))
    }


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]
