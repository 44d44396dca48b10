"""Finds misspelled names and values out of range in a config before anything is built from it."""

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..errors import UserError
from .checks import config
from .checks.names import CHECKS
from .checks.report import Report, skipped_checks


def check_config(cfg: Config | dict) -> None:
    """Looks through all of a run's config that MMEngine builds something from.

    ``skip_checks`` of the config, a list of names, leaves checks out; the names are those of the
    functions in ``mmseg_faseg/engine/checks/config.py``.

    Args:
        cfg: A config, or a part of one by the same keys.

    Raises:
        UserError: Names each key, what it got and what it takes.
    """
    report = Report(skipped_checks(cfg.get('skip_checks'), CHECKS))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmseg'):
        for check in config.REFUSED:
            for text in check(cfg):
                report.refuse(check.__name__, text)
    report.settle(UserError, skippable=False)
