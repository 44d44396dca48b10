"""A runner whose terminal shows what a person reads; its log file has everything."""

import logging
import sys
import warnings
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.logging.logger import MMFormatter
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints.latest import newest_whole_checkpoint
from .config_check import check_config

# Beginnings of messages that have no switch: hundreds of lines, or nothing that a user can act on.
_FILE_ONLY = (
    f'\n{60 * "-"}\nSystem environment:',
    'Config:\n',
    'Hooks will be executed in the following order:',
    'paramwise_options -- ',
    'Exp name: ',
    'per class results:',  # the table follows
    'Checkpoints will be saved to ',  # so says RunStartHook
    'Advance dataloader ',  # ExactResumeHook skips without loading
    'Load checkpoint from ',  # printed by MMEngine's reader too
    'Distributed training is not used, all SyncBatchNorm',
    'The prefix is not set in metric class ',
    '"FileClient" will be deprecated in future.',
    '"HardDiskBackend" is the alias of "LocalBackend"',
)

# Those of configs/_base_/checks.py, in its order.
_CHECKS = (
    'RunStartHook',
    'RunLockHook',
    'SettingsCheckHook',
    'OutputNamesHook',
    'UnlabelledTestHook',
    'DataCheckHook',
    'CheckpointCheckHook',
    'BrokenImagesHook',
    'NonFiniteHook',
    'StopSignalHook',
    'ExactResumeHook',
)


@RUNNERS.register_module()
class ReadableRunner(Runner):
    """MMEngine's runner, quieter on the terminal.

    The environment, the config, the hooks and the optimizer's rule for every parameter go to the
    log file alone. ``log_level='DEBUG'`` brings them back to the terminal. Hooks of
    ``configs/_base_/checks.py`` that a config's own ``custom_hooks`` replaced run all the same.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> Runner:
        """Builds a runner from a config that was looked through for misspelled names."""
        check_config(cfg)
        return super().from_cfg(cfg)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Builds MMEngine's logger, and tells its terminal what to leave out."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _Unwritten(handler)  # type: ignore[method-assign]
            on_terminal = not isinstance(handler, logging.FileHandler)
            if on_terminal and handler.level > logging.DEBUG:
                handler.addFilter(_is_to_read)
                handler.setFormatter(_formatter())
        return logger

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list[Hook | dict] | None = None
    ) -> None:
        """Registers hooks; that those for pictures are off by default needs no warning."""
        custom_hooks = custom_hooks or []
        there = {_name(hook) for hook in custom_hooks}
        missing: list[Hook | dict] = [dict(type=name) for name in _CHECKS if name not in there]
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='The draw is False')
            super().register_hooks(default_hooks, [*missing, *custom_hooks])

    _load_from: str | None

    def load_or_resume(self) -> None:
        """Resumes from the newest checkpoint that is whole, and names those passed over."""
        if self._resume and self._load_from is None:
            path, passed_over = newest_whole_checkpoint(self.work_dir)
            for reason in passed_over:
                self.logger.warning(f'passed over: {reason}')
            self._load_from = None if path is None else str(path)
        super().load_or_resume()


class _Unwritten:
    """Says once that a log is not written any more, instead of a trace for each of its lines."""

    def __init__(self, handler: logging.FileHandler) -> None:
        self.handler = handler
        self.said = False

    def __call__(self, record: logging.LogRecord) -> None:
        """Is called while the error is handled."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logging.Handler.handleError(self.handler, record)
        elif not self.said:
            self.said = True
            print(f'{self.handler.baseFilename} is cut off: {error.strerror}', file=sys.stderr)


def _name(hook: Hook | dict) -> str:
    kind = hook['type'] if isinstance(hook, dict) else type(hook)
    return kind if isinstance(kind, str) else kind.__name__


def _is_to_read(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_FILE_ONLY)


def _formatter() -> MMFormatter:
    formatter = MMFormatter(color=True, datefmt='%m/%d %H:%M:%S')
    formatter.info_format = '%(asctime)s  %(message)s'
    return formatter
