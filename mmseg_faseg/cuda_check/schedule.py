"""All steps, in the order of their importance, within the time that there is."""

import time
from collections.abc import Iterator
from pathlib import Path

from .benchmarks import benchmark_steps, trained_step
from .environment import describe_apart
from .loading import loading_step
from .process import ENDING_SECONDS
from .settings import Settings
from .state import State
from .step import FINISHED, STOPPED, UNFINISHED, Step
from .suite import suite_step
from .training import training_steps

# Left at the end, for a step that does not end at once and for the report.
_RESERVE = ENDING_SECONDS + 5


def check(settings: Settings) -> Path:
    """Does what earlier calls have left to do, for as long as the limit allows.

    Args:
        settings: Checked settings.

    Returns:
        The report. ``cuda_check.json`` beside it has the same and more.

    Raises:
        UserError: The device cannot be used, and nothing was written; or the folder is not for it.
        KeyboardInterrupt: From outside; what there is has been written.
    """
    deadline = time.monotonic() + 60 * settings.limit - _RESERVE
    environment = describe_apart(settings.device)
    for name, value in environment['facts'].items():
        print(f'{name}: {value}')
    for note in environment['notes']:
        print(f'note: {note}')
    state = State(settings, environment)
    waiting = pending(settings, state)
    while waiting:
        step = waiting.pop(0)
        sharing = 1 + sum(bool(step.group) and other.group == step.group for other in waiting)
        left = (deadline - time.monotonic()) / sharing
        if left >= step.least:
            _do(step, min(step.most, left), state)
        else:
            print(f'{step.name}: not begun, too little time is left', flush=True)
            # Half of a comparison is none.
            waiting = [other for other in waiting if not step.group or other.group != step.group]
    return state.file.with_suffix('.md')


def pending(settings: Settings, state: State) -> list[Step]:
    """Steps that are not finished, those that were stopped or failed at the end."""
    waiting = [
        step
        for step in _all_steps(settings, state)
        if step.kind not in settings.skip and (step.goes_on or state.status(step.name) != FINISHED)
    ]
    return sorted(waiting, key=lambda step: state.status(step.name) not in (None, UNFINISHED))


def _all_steps(settings: Settings, state: State) -> Iterator[Step]:
    """Everything, the most important first: a short limit still has some of each kind."""
    first, others = benchmark_steps(settings)
    training = training_steps(settings, state.steps)
    of_first_seed = len(settings.subjects.training)
    yield suite_step(settings)
    yield from first
    yield from training[:of_first_seed]
    yield trained_step(settings)
    yield loading_step(settings)
    yield from others
    yield from training[of_first_seed:]


def _do(step: Step, seconds: float, state: State) -> None:
    print(f'{step.name}: for {seconds / 60:.1f} minutes at most', flush=True)
    result = step.run(seconds, state.steps)
    interrupted = result.pop('interrupted', False)
    if result['status'] == STOPPED and (interrupted or seconds < step.most):
        result['status'] = UNFINISHED
    state.record(step.name, result)
    if interrupted:
        raise KeyboardInterrupt
    message = f': {result["message"]}' if 'message' in result else ''
    print(f'{step.name}: {result["status"]}{message}', flush=True)
