"""MMEngine's test-time augmentation over segmentors that keep class scores only where asked to.

Models such as MMSegmentation's ``SegTTAModel`` average the ``seg_logits`` of their views, which
``FASegSegmentor`` does not make by itself.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import BaseTTAModel


@contextmanager
def scores_kept(module: Any) -> Iterator[bool]:
    """Makes a segmentor keep its class scores; yields whether it would have anyway."""
    before = getattr(module, 'keep_scores', False)
    module.keep_scores = True
    try:
        yield before
    finally:
        module.keep_scores = before


def keep_scores_in_tta() -> None:
    """Has every ``BaseTTAModel`` ask for scores. Calling it twice is harmless."""
    if not hasattr(BaseTTAModel.test_step, '__wrapped__'):
        BaseTTAModel.test_step = _with_scores(BaseTTAModel.test_step)


def _with_scores(test_step: Callable) -> Callable:
    @functools.wraps(test_step)
    def wrapper(self: BaseTTAModel, data: Any) -> list:
        with scores_kept(self.module):
            return test_step(self, data)

    return wrapper
