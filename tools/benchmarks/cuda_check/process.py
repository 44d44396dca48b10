"""Runs a command for a limited time, with everything that it starts."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# A command that is stopped may take this long to write what it has, as at Ctrl-C. Callers leave
# room for it.
ENDING_SECONDS = 15


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
            lines = log.read_text(errors='replace').split('\n')
            last_line = next((line.strip() for line in reversed(lines) if line.strip()), '')
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:  # callers note what there is, and then stop
            interrupted = True
        finally:
            with suppress(ProcessLookupError):  # nobody is left
                os.killpg(process.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=ENDING_SECONDS)
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    return Ended(code, time.monotonic() - start, last_line, interrupted)
