"""Times of several things in one process, in turn, so that a slow minute meets all of them."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

Run = Callable[[], object]

# Rounds. On a GPU cuDNN chooses kernels in the first; the second records CUDA graphs.
_WARM_UP = {'cpu': 1, 'cuda': 3}


def interleave(runs: Sequence[Run], repeats: int, device: str = 'cpu') -> list[list[float]]:
    """Times things in the order A B A B ..., after a few rounds to warm up.

    Args:
        runs: The things.
        repeats: How often each is timed.
        device: Where they run; on 'cuda' events are timed.

    Returns:
        Seconds of each thing.
    """
    for _ in range(_WARM_UP[device]):
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
