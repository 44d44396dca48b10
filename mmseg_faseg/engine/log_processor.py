"""What a line of the training log says."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

# `decode.d3.loss_cls`, the class loss of the fourth prediction, is of the kind `loss_cls`.
_PREDICTION = re.compile(r'(^|\.)d\d+\.')
_SHOWN_APART = ('lr', 'base_lr', 'time', 'data_time', 'memory', 'iter', 'epoch')


@LOG_PROCESSORS.register_module()
class LossKindsLogProcessor(LogProcessor):
    """MMEngine's log processor, with training lines that a person can read.

    A decoder with N layers makes N + 1 predictions, and each has its ``loss_cls``, ``loss_mask``
    and ``loss_dice``. A line shows their sums, after the total that is minimised. What goes to
    JSON, TensorBoard and the like keeps every term under its name, and no sums.

    Args:
        per_prediction: Lines as MMEngine writes them, with every term.
        **kwargs: MMEngine's arguments.
    """

    def __init__(self, per_prediction: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.per_prediction = per_prediction

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """All scalars of an iteration, and its line."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if mode == 'train' and not self.per_prediction:
            scalars = {name.removeprefix('train/'): value for name, value in tag.items()}
            where = line.partition(']  ')[0] + ']'
            line = '  '.join([where, *self._items(scalars, runner)])
        return tag, line

    def _items(self, scalars: dict[str, float], runner: Runner) -> list[str]:
        losses = loss_kinds(scalars)
        items = {name: f'{value:.{self.num_digits}g}' for name, value in losses.items()}
        lr = scalars.get('base_lr', scalars.get('lr'))  # `lr` is that of the first group alone
        if lr is not None:
            items['lr'] = f'{lr:.2e}'
        if 'eta' in runner.message_hub.runtime_info:
            items['eta'] = str(timedelta(seconds=int(runner.message_hub.get_info('eta'))))
        for name in ('time', 'data_time'):
            if name in scalars:
                items[name] = f'{scalars[name]:.3f}'
        if 'memory' in scalars:
            items['memory'] = f'{scalars["memory"]} MB'
        for name, value in scalars.items():
            if name not in _SHOWN_APART and not _is_loss(name):
                items[name] = f'{value:.{self.num_digits}g}'
        return [f'{name}: {item}' for name, item in items.items()]


def loss_kinds(scalars: Mapping[str, float]) -> dict[str, float]:
    """Sums the terms of each kind of loss over the predictions.

    Args:
        scalars: Such as ``{'lr': 1e-4, 'loss': 7.0, 'decode.loss_cls': 2.0, 'decode.d0.loss_cls':
            4.0, 'aux.loss_ce': 1.0}``.

    Returns:
        The losses among them, the total first, here ``{'loss': 7.0, 'loss_cls': 6.0,
        'aux.loss_ce': 1.0}``.
    """
    sums = {'loss': scalars['loss']} if 'loss' in scalars else {}
    for name, value in scalars.items():
        if _is_loss(name) and name != 'loss':
            kind = _PREDICTION.sub(r'\1', name).removeprefix('decode.')
            sums[kind] = sums.get(kind, 0.0) + value
    return sums


def _is_loss(name: str) -> bool:
    return name.rpartition('.')[2].startswith('loss')
