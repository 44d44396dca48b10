"""Keeps the dropout of one of MMCV's attention layers out of those built after it."""

import functools
from typing import Any

from mmcv.cnn.bricks.transformer import MultiheadAttention


def keep_dropout_apart() -> None:
    """Gives each ``MultiheadAttention`` a default of its own.

    Its argument ``dropout``, as DETR's configs have it, is written into the default of
    ``dropout_layer``: attention that is built later in the process, with no dropout in its config,
    would train with it.
    """
    plain_init = MultiheadAttention.__init__

    @functools.wraps(plain_init)
    def init(self: MultiheadAttention, *args: Any, **kwargs: Any) -> None:
        if len(args) < 5:  # by position it is the fifth
            kwargs.setdefault('dropout_layer', dict(type='Dropout', drop_prob=0.0))
        plain_init(self, *args, **kwargs)

    MultiheadAttention.__init__ = init
