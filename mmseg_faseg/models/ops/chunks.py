"""How much may live at a time of what is made chunk by chunk in inference."""

import torch

_CPU_BYTES = 16 * 2**20
_GPU_BYTES = 128 * 2**20


def chunk_bytes(device: torch.device) -> int:
    """Bytes of a chunk: little enough for the cache of a CPU; a GPU wants few and large ones."""
    return _CPU_BYTES if device.type == 'cpu' else _GPU_BYTES
