"""The precisions in which models are set side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch


class Precision(NamedTuple):
    """How a model computes.

    Attributes:
        autocast: Type that autocast takes; None runs without autocast.
        tf32: Whether a GPU rounds the factors of float32 products to TF32; None leaves it to
            PyTorch, which does so in convolutions only.
    """

    autocast: torch.dtype | None = None
    tf32: bool | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Type of most products."""
        return self.autocast or torch.float32

    @contextmanager
    def float32_products(self) -> Iterator[None]:
        """Sets ``tf32`` for a while."""
        if self.tf32 is None:
            yield
            return
        matmul = torch.get_float32_matmul_precision()
        convolution = torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision('high' if self.tf32 else 'highest')
        torch.backends.cudnn.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul)
            torch.backends.cudnn.allow_tf32 = convolution


PRECISIONS = {
    'float32': Precision(tf32=False),
    'tf32': Precision(tf32=True),
    'float16': Precision(torch.float16),
    'bfloat16': Precision(torch.bfloat16),
}
# Without a GPU the others do not exist, or cannot be trained in.
ON_CPU = ('float32', 'bfloat16')
