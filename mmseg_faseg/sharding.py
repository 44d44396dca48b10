"""Tensors that processes share: each holds a part."""

from typing import Any

from mmengine import dist
from mmengine.utils import apply_to
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(state: Any, everywhere: bool = False) -> Any:
    """Whole tensors, on the host.

    Args:
        state: Nested dicts and lists, the same in all processes, all of which have to call this.
        everywhere: Or else in the first process only, and empty tensors in the others.
    """

    def gather(part: DTensor) -> Tensor:
        whole = part.full_tensor()
        return whole.cpu() if everywhere or dist.is_main_process() else whole.new_empty(0)

    return apply_to(state, lambda value: isinstance(value, DTensor), gather)


def shared(value: Any, like: Tensor) -> Any:
    """The part for this process of what each process has whole.

    Args:
        value: A tensor of the same shape as ``like``; anything else stays what it is.
        like: Of its parts.
    """
    if not isinstance(value, Tensor) or not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
