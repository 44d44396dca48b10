"""In which range numbers of a config mean something."""

from dataclasses import dataclass
from typing import Any

from mmengine.dataset import RepeatDataset
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg.engine import SegVisualizationHook
from torch.optim import Optimizer
from torch.utils.data import DataLoader


@dataclass(frozen=True)
class Range:
    """Numbers of ``least`` and more; ``value in range_`` and ``str(range_)`` are what it is for.

    Attributes:
        least: The smallest.
        whole: Only whole numbers.
        floats: Whether a whole number may be a float, such as 1e4.
        never: Whether -1 stands for never.
    """

    least: int
    whole: bool = True
    floats: bool = False
    never: bool = False

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.whole and isinstance(value, float) and not (self.floats and value.is_integer()):
            return False
        return value >= self.least or (self.never and value == -1)

    def __str__(self) -> str:
        what = 'a whole number' if self.whole else 'a number'
        return f'{what} of {self.least} or more' + (', or -1 for never' if self.never else '')


SEED = _FROM_0 = Range(0)
_COUNT = Range(1)
_STEPS = Range(1, floats=True)
_SAVED = Range(1, floats=True, never=True)
_LOOP = dict(val_interval=_STEPS, val_begin=Range(0, floats=True))
RANGES: dict[type, dict[str, Range]] = {
    DataLoader: dict(batch_size=_COUNT, num_workers=_FROM_0, prefetch_factor=_COUNT),
    EpochBasedTrainLoop: dict(max_epochs=_STEPS, **_LOOP),
    IterBasedTrainLoop: dict(max_iters=_STEPS, **_LOOP),
    CheckpointHook: dict(interval=_SAVED, max_keep_ckpts=_SAVED, save_begin=_FROM_0),
    LoggerHook: dict(interval=_COUNT),
    SegVisualizationHook: dict(interval=_COUNT),
    OptimWrapper: dict(accumulative_counts=_COUNT),
    Optimizer: dict(lr=Range(0, whole=False), weight_decay=Range(0, whole=False)),
    _ParamScheduler: dict(begin=_FROM_0),
    RepeatDataset: dict(times=_COUNT),
}
