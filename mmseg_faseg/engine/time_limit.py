"""Ends training after some minutes, so that a later call can go on."""

import math
import time

from mmengine import dist
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner


@HOOKS.register_module()
class TimeLimitHook(Hook):
    """Stops iteration-based training after some minutes, with a checkpoint to resume from.

    The clock starts with the first iteration of a call, after the data that earlier calls trained
    on has been skipped. In a distributed run the first process's clock decides for all.

    Args:
        minutes: How long this call may train, more than 0.

    Raises:
        ValueError: ``minutes`` is out of range, or training does not count its checkpoints by
            iterations.
    """

    priority = 'LOW'  # before CheckpointHook, which it asks for a checkpoint

    def __init__(self, minutes: float) -> None:
        if minutes <= 0:
            raise ValueError(f'minutes must be more than 0, got {minutes}')
        self.minutes = minutes
        self._start = math.inf  # until the first iteration

    def before_train(self, runner: Runner) -> None:
        """Sees that training can be stopped between two iterations and resumed there."""
        hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        by_iteration = [hook for hook in hooks if not hook.by_epoch]
        if not isinstance(runner.train_loop, IterBasedTrainLoop) or not by_iteration:
            raise ValueError(
                'TimeLimitHook needs an IterBasedTrainLoop and a CheckpointHook with by_epoch=False'
            )
        self._start = math.inf

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Starts the clock."""
        self._start = min(self._start, time.monotonic())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Stops the loop when time is over; CheckpointHook, called next, writes a checkpoint."""
        over = [time.monotonic() - self._start >= 60 * self.minutes]
        dist.broadcast_object_list(over)
        if not over[0]:
            return
        runner.logger.info(f'{self.minutes:g} minutes are over: stopping after this iteration')
        runner.train_loop.stop_training = True
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook.interval = 1
