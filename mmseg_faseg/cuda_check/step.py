"""What all steps share: they run a tool of the project for a limited time."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .process import Ended, run
from .settings import Settings

# How a step ended: done; stopped at its own limit; stopped, or with more to do, when all time was
# over; with an error.
FINISHED, STOPPED, UNFINISHED, FAILED = 'finished', 'stopped', 'unfinished', 'failed'

Result = dict[str, Any]


class Step(NamedTuple):
    """A part of the check that is done at once and reported at once.

    Attributes:
        name: Under which its result is kept, such as 'benchmark/float32-batch1-512'.
        kind: One of ``KINDS``.
        least: Seconds below which it is not worth beginning.
        most: Seconds that it may take.
        run: Does it, given the seconds that it may take and the results of all steps so far.
        group: Steps of a group share the time that is left evenly; '' is no group.
        goes_on: Whether it has more to do although an earlier call finished it.
    """

    name: str
    kind: str
    least: float
    most: float
    run: Callable[[float, dict[str, Result]], Result]
    group: str = ''
    goes_on: bool = False


def run_tool(
    settings: Settings, name: str, arguments: Sequence[object], seconds: float
) -> tuple[Ended, Result]:
    """Runs Python with arguments in the repository.

    Args:
        settings: Of the check.
        name: Of the step, after which the log is named.
        arguments: What follows ``python``.
        seconds: Time that it may take.

    Returns:
        How it ended, and the same as the beginning of a step's result.
    """
    log = settings.out / 'logs' / f'{name.replace("/", "-")}.log'
    environment = dict(PYTHONUNBUFFERED='1')
    if settings.device == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    command = [sys.executable, *map(str, arguments)]
    ended = run(command, log, seconds, settings.root, environment)
    status = {None: STOPPED, 0: FINISHED}.get(ended.code, FAILED)
    result = dict(
        status=status, seconds=round(ended.seconds, 1), log=str(log.relative_to(settings.out))
    )
    if ended.interrupted:
        result['interrupted'] = True
    if status == FAILED:
        result['message'] = f'exit status {ended.code}: {ended.last_line}'
    return ended, result


def data_options(settings: Settings) -> list[str]:
    """Where the data set to train on lies, as an option of the tools."""
    return [] if settings.data_root is None else [f'data_root={settings.data_root}']
