"""Tells the command line, which starts at once, from programs that need everything registered."""

import sys
from pathlib import Path

COMMAND = 'faseg'


def is_command() -> bool:
    """Whether this process runs ``faseg`` or ``python -m mmseg_faseg``.

    Decided by how Python was started, so that processes which such a command starts are none.
    """
    started = sys.orig_argv[1:]
    if sys.argv[:1] == ['-m']:  # what Python says while it looks for a module to run
        return any(
            flag == '-m' and name.partition('.')[0] == __package__
            for flag, name in zip(started, started[1:], strict=False)
        )
    script = sys.argv[0] if sys.argv else ''
    return Path(script).name == COMMAND and script in started
