"""Runs a command for a limited time, with everything that it starts."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# What ends a process group, and how many seconds it may take over it. Our tools write what they
# have at the first, as at Ctrl-C.
_ENDINGS = ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5))
# That ending may take at most, so that callers can leave room for it.
ENDING_SECONDS = sum(seconds for _, seconds in _ENDINGS)


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        code: Exit status; None when it was stopped.
        seconds: It ran.
        last_line: The last that it printed; empty when it was stopped.
        interrupted: Whether Ctrl-C ended it.
    """

    code: int | None
    seconds: float
    last_line: str
    interrupted: bool


def run(
    command: Sequence[str], log: Path, seconds: float, cwd: Path, environment: dict[str, str]
) -> Ended:
    """Runs a command in a process group of its own; none of it is left when this returns.

    Args:
        command: Program and arguments.
        log: File that its output goes to, in place of an earlier run's.
        seconds: Time that it may take.
        cwd: Where it runs.
        environment: Variables besides those of this process.
    """
    code, interrupted, last_line = None, False, ''
    start = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('w') as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=os.environ | environment,
            start_new_session=True,
        )
        try:
            code = process.wait(max(seconds, 0))
            # before those that are left say that they are ended
            lines = log.read_text(errors='replace').split('\n')
            last_line = next((line.strip() for line in reversed(lines) if line.strip()), '')
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:  # callers note what there is, and then stop
            interrupted = True
        finally:
            _end_group(process)
    return Ended(code, time.monotonic() - start, last_line, interrupted)


def _end_group(process: subprocess.Popen) -> None:
    """Ends a process and all that it started."""
    for ending, seconds in _ENDINGS:
        try:
            os.killpg(process.pid, ending)
        except ProcessLookupError:  # nobody is left
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and _is_alive(process):
            time.sleep(0.05)


def _is_alive(process: subprocess.Popen) -> bool:
    """Whether anything of a process's group still runs; see proc_pid_stat(5).

    Zombies do not: where nobody takes the exit status of orphans, as in many containers, they stay.
    """
    process.poll()
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, group = stat.read_text().rpartition(')')[2].split()[:3]
        except OSError:  # gone
            continue
        if state != 'Z' and int(group) == process.pid:
            return True
    return False
