"""Finds settings that cannot work together before anything is trained or tested."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..errors import UserError
from .checks import schedules, settings
from .checks.names import CHECKS
from .checks.report import Report, skipped_checks
from .checks.settings import segmentor


class SettingsMismatchError(UserError):
    """Two settings of a config cannot work together."""


@HOOKS.register_module()
class SettingsCheckHook(Hook):
    """Looks for values that stand in two places and differ, and for settings that clash.

    What would be wrong in silence or fail later stops the run; what is plausibly a mistake is
    logged in one line. ``skip_checks`` of the config, a list of names, leaves some out; the names
    are those of the functions in ``settings.py`` and ``schedules.py`` of
    ``mmseg_faseg/engine/checks``.

    Raises:
        SettingsMismatchError: When a run starts.
    """

    def before_run(self, runner: Runner) -> None:
        """Checks what the run has built by now."""
        if not hasattr(segmentor(runner), 'data_preprocessor'):
            return
        report = Report(skipped_checks(runner.cfg.get('skip_checks'), CHECKS))
        for check in (*settings.WARNED, *schedules.WARNED):
            for text in check(runner):
                report.warn(check.__name__, text)
        for check in (*settings.REFUSED, *schedules.REFUSED):
            for text in check(runner):
                report.refuse(check.__name__, text)
        report.settle(SettingsMismatchError)
