"""Times of several things in one process, in turn, so that a slow minute meets all of them."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

Run = Callable[[], object]


def interleave(
    runs: Sequence[Run], repeats: int, device: str = 'cpu', warm_up: int = 1
) -> list[list[float]]:
    """Times things in the order A B A B ...

    Args:
        runs: The things.
        repeats: How often each is timed.
        device: Where they run; on 'cuda' events are timed.
        warm_up: Untimed rounds before.

    Returns:
        Seconds of each thing.
    """
    for _ in range(warm_up):
        for run in runs:
            run()
    seconds = [[] for _ in runs]
    for _ in range(repeats):
        for run, own in zip(runs, seconds, strict=True):
            own.append(stopwatch(run, device))
    return seconds


def stopwatch(run: Run, device: str = 'cpu') -> float:
    """Seconds of one run, from an idle device to an idle device."""
    if device == 'cpu':
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Median over median."""
    return statistics.median(seconds) / statistics.median(others)
