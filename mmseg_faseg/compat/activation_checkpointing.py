"""MMEngine's activation checkpointing for modules with any arguments and results.

MMEngine calls ``torch.utils.checkpoint`` in its older, reentrant form. That follows tensors given
by position only: a module that takes or returns a list of feature maps trains without gradients and
without a word, and one that takes a dict ends in "backward through the graph a second time".
"""

import functools

from mmengine.runner import activation_checkpointing
from torch.utils.checkpoint import checkpoint


def follow_all_tensors() -> None:
    """Makes MMEngine checkpoint in PyTorch's newer form. Calling it twice is harmless."""
    activation_checkpointing.checkpoint = functools.partial(checkpoint, use_reentrant=False)
