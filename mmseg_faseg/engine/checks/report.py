"""What the checks before a run found: warnings are logged, the rest stops the run."""

import logging
from collections.abc import Collection, Iterable

from mmengine.logging import print_log

from ...errors import UserError, did_you_mean

_SHOWN = 10  # problems named in an error; the rest is counted


class Report:
    """Collects what checks find, without those that the config skips.

    Args:
        skipped: Names of checks whose findings are dropped (``skip_checks`` of the config).
    """

    def __init__(self, skipped: Collection[str] = ()) -> None:
        self.skipped = skipped
        self._problems: dict[tuple[str, str], None] = {}  # each is said once
        self._warnings: set[str] = set()

    def warn(self, check: str, text: str) -> None:
        """Logs one line."""
        line = f'{text} [{check}]'
        if check not in self.skipped and line not in self._warnings:
            self._warnings.add(line)
            print_log(line, 'current', logging.WARNING)

    def refuse(self, check: str, text: str) -> None:
        """Keeps a reason not to start."""
        if check not in self.skipped:
            self._problems[check, text] = None

    def settle(self, error: type[UserError], title: str = '', skippable: bool = True) -> None:
        """Raises an error that has all reasons not to start, and how to start all the same.

        Args:
            error: Its type.
            title: What there are several of, for a first line with their number.
            skippable: Whether a start all the same could go well.
        """
        if not self._problems:
            return
        lines = [text for _, text in self._problems][:_SHOWN]
        if title:
            lines = [f'{len(self._problems)} {title}:', *(f'  {line}' for line in lines)]
        if len(self._problems) > _SHOWN:
            lines.append(f'  ... and {len(self._problems) - _SHOWN} more')
        if skippable:
            names = ','.join(dict.fromkeys(check for check, _ in self._problems))
            lines.append(f'To start all the same: --cfg-options skip_checks={names}')
        raise error('\n'.join(lines))


def skipped_checks(skip: str | Iterable[str] | None, known: Collection[str]) -> set[str]:
    """Reads ``skip_checks`` of a config.

    Args:
        skip: A name, or several.
        known: Names of all checks.

    Raises:
        UserError: A name is none of theirs.
    """
    names = {skip} if isinstance(skip, str) else set(skip or ())
    for name in names - set(known):
        hint = did_you_mean(name, known) or f'; there are {", ".join(sorted(known))}'
        raise UserError(f'skip_checks: no check is called {name!r}{hint}')
    return names
