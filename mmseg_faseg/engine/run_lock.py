"""Keeps two runs out of one work dir."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from ..errors import UserError


@HOOKS.register_module()
class RunLockHook(Hook):
    """Locks the work dir while training writes to it; the system unlocks it when the process ends.

    Raises:
        UserError: Another process has it; the message has its host and process id.
    """

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def before_run(self, runner: Runner) -> None:
        """Takes the lock, in the first process."""
        if not isinstance(runner._train_loop, BaseLoop) or self._file:
            return
        found = [self._lock(Path(runner.work_dir, '.lock')) if dist.is_main_process() else None]
        dist.broadcast_object_list(found)
        if found[0]:
            raise UserError(
                f'another run writes to {runner.work_dir}: {found[0]}. Wait for its end, or give '
                'another --work-dir'
            )

    def after_run(self, runner: Runner) -> None:
        """Lets go of the lock."""
        if self._file:
            self._file.close()
            self._file = None

    def _lock(self, path: Path) -> str | None:
        """Locks a file, or says who has it."""
        file = path.open('a+')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            return file.read(200).strip() or 'an unknown process'
        except OSError:  # a file system without locks
            return None
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        self._file = file
        return None
