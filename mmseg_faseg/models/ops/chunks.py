"""How much may live at a time of what is made chunk by chunk in inference."""

import torch
from torch import Tensor

_CPU_BYTES = 16 * 2**20
_GPU_BYTES = 128 * 2**20


def chunk_bytes(device: torch.device) -> int:
    """Bytes of a chunk: little enough for the cache of a CPU; a GPU wants few and large ones."""
    return _CPU_BYTES if device.type == 'cpu' else _GPU_BYTES


def split(x: Tensor, dim: int, item_bytes: int) -> tuple[Tensor, ...]:
    """Splits a tensor along a dimension into parts for which a chunk is enough.

    In an export it stays whole: a graph for all sizes has a fixed number of parts.

    Args:
        x: Any tensor.
        dim: The dimension.
        item_bytes: What is made of one item along it.
    """
    if torch.compiler.is_exporting():
        return (x,)
    return x.split(max(1, chunk_bytes(x.device) // item_bytes), dim)
