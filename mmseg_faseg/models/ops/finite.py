"""Tensors with values that are not finite, in words."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...sharding import own_part


def nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Counts the tensors that hold NaN or infinity and names the first, with one transfer.

    Args:
        tensors: By name, such as a model's state; integers and tensors without data are left out.

    Returns:
        Such as ``'2 of 310 tensors, first conv.weight (1 of 64 values)'``; None if all are finite.
    """
    floats = {
        name: own_part(tensor)
        for name, tensor in tensors.items()
        if torch.is_floating_point(tensor) and not tensor.is_meta and tensor.numel()
    }
    by_device: dict[torch.device, list[str]] = {}
    for name, tensor in floats.items():
        by_device.setdefault(tensor.device, []).append(name)
    bad: set[str] = set()
    for names in by_device.values():
        # A sum of zeros, and NaN where a value is not finite.
        sums = torch.stack([(floats[name].detach() * 0).sum().float() for name in names])
        bad.update(name for name, ok in zip(names, sums.isfinite().tolist(), strict=True) if not ok)
    if not bad:
        return None
    first = next(name for name in floats if name in bad)
    values = int((~floats[first].isfinite()).sum())
    return (
        f'{len(bad)} of {len(floats)} tensors, first {first} '
        f'({values} of {floats[first].numel()} values)'
    )


def refuse_nonfinite(model: nn.Module, keys: object) -> None:
    """A hook for after weights were loaded; ``keys`` are those that did not fit.

    Raises:
        UserError: Some are NaN or infinite, which would make every prediction the same.
    """
    found = nonfinite(model.state_dict())
    if found:
        raise UserError(f'the weights loaded into {type(model).__name__} are not finite: {found}')
