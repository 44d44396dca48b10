"""MMSegmentation's metrics leave out of a mean what is ``nan``; here they say so."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric

_SHOWN = 5


def tell_classes_left_out() -> None:
    """Has ``IoUMetric`` name the classes that its means do not count."""
    IoUMetric.compute_metrics = _telling(IoUMetric.compute_metrics)


def _telling(compute_metrics):
    @functools.wraps(compute_metrics)
    def wrapper(self: IoUMetric, results: list) -> Any:
        if type(self) is IoUMetric and not self.format_only and results:
            _, union, _, label = (
                torch.as_tensor(sum(counts)).numpy() for counts in zip(*results, strict=True)
            )
            names = (self.dataset_meta or {}).get('classes') or range(len(union))
            for what, left_out, why in (
                ('IoU', union == 0, 'neither in labels nor in predictions'),
                ('accuracy', label == 0, 'in no label'),
            ):
                _tell(what, left_out, names, why)
        return compute_metrics(self, results)

    return wrapper


def _tell(what: str, left_out: np.ndarray, names: Sequence, why: str) -> None:
    absent = [repr(names[number]) for number in np.flatnonzero(left_out).tolist()]
    if not absent:
        return
    more = f' and {len(absent) - _SHOWN} more' if absent[_SHOWN:] else ''
    counted = f'{len(left_out) - len(absent)} of {len(left_out)} classes'
    text = f'mean {what} is over {counted}: {", ".join(absent[:_SHOWN])}{more} left out ({why})'
    print_log(text, 'current', logging.WARNING)
