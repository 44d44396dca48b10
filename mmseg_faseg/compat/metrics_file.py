"""The file of a test's metrics, which every process of a distributed run would write at once."""

from typing import Any

from mmengine import dist
from mmengine.hooks import logger_hook


def write_metrics_once() -> None:
    """Lets only the first process write the JSON file of a test's metrics.

    MMEngine 0.10 has all of them write to one path; now and then what is left is parts of both.
    """
    write = logger_hook.dump

    def dump(*args: Any, **kwargs: Any) -> None:
        if dist.is_main_process():
            write(*args, **kwargs)

    logger_hook.dump = dump
