"""Saves a checkpoint and ends when the machine is taken away."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import torch
from mmengine import dist
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

# Ctrl-C; what `kill`, schedulers and launchers send; what SLURM is asked to send with
# `--signal=USR1@120`.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@HOOKS.register_module()
class StopSignalHook(Hook):
    """Ends training after a signal with a checkpoint to go on from.

    After SIGINT, SIGTERM or SIGUSR1 the iteration is finished, a checkpoint is saved, a line says
    how to go on, and the process exits with 128 plus the signal's number, as shells count. A second
    signal ends it at once. In several processes the first one to get a signal stops all of them.

    Only training whose checkpoints count iterations can be gone on with in the middle of an epoch;
    other training ends without saving.
    """

    priority = 'LOWEST'  # after CheckpointHook, which may just have saved

    def __init__(self) -> None:
        self._received = 0
        self._before: dict[signal.Signals, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Begins to listen."""
        self._received = 0
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may say what a signal does
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._receive) for number in heard}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Ends training if a signal came, unless gradients are still being accumulated."""
        number = _largest(self._received)
        if number and runner.optim_wrapper.should_update():
            self._stop(runner, number, runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Ends validation within training if a signal came: it is made after going on."""
        number = _largest(self._received) if self._before else 0
        if number:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # gives the model back its own weights
            self._stop(runner, number, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Stops listening."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            os.write(2, b'A second signal: ended at once\n')
            os._exit(128 + number)
        self._received = number
        name = signal.Signals(number).name
        # Neither logging nor print: the signal may have come in the middle of either.
        os.write(2, f'{name}: saving after this iteration; once more ends at once\n'.encode())

    def _stop(self, runner: Runner, number: int, done: int) -> None:
        saved = [
            _save(runner, hook, done)
            for hook in runner.hooks
            if isinstance(hook, CheckpointHook) and not hook.by_epoch
        ]
        name = signal.Signals(number).name
        how = f'saved {saved[0]}; --resume goes on from it' if saved else 'nothing is saved'
        runner.logger.info(f'{name}: stopped after {done} iterations; {how}')
        self.after_train(runner)
        sys.exit(128 + number)


def _save(runner: Runner, hook: CheckpointHook, done: int) -> str:
    path = hook.file_backend.join_path(hook.out_dir, hook.filename_tmpl.format(done))
    if hook.last_ckpt != path:
        meta = dict(epoch=runner.epoch, iter=done)
        hook._save_checkpoint_with_step(runner, done, meta=meta)
    return path


def _largest(number: int) -> int:
    """Over all processes."""
    if dist.get_world_size() == 1:
        return number
    numbers = torch.tensor(number, device=get_device())
    dist.all_reduce(numbers, 'max')
    return int(numbers)
