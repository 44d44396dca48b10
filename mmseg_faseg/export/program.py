"""Traces a model with ``torch.export``, for pictures of one size or of all."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..datasets.broken_files import first_line
from ..errors import UserError

LARGEST = 2**14  # side of a picture
# To trace for all sizes with: no dimension in it is 1, 2 or equal to another, as those of small
# pictures are. It costs nothing, since only shapes are computed.
_EXAMPLE = (1000, 1200)
_SMALLEST = 33  # more than 32: the smallest maps are not 1 x 1


def trace(model: nn.Module, size: tuple[int, int] | None) -> ExportedProgram:
    """Traces a :class:`.PictureModel`.

    Args:
        model: In evaluation mode, on the CPU.
        size: Height and width of the pictures; all if None.

    Raises:
        UserError: PyTorch cannot trace it, or not for all sizes.
    """
    picture = torch.zeros(1, 3, *(size or _EXAMPLE), dtype=torch.uint8)
    sizes = None
    if size is None:
        height, width = (Dim(name, min=_SMALLEST, max=LARGEST) for name in ('height', 'width'))
        sizes = dict(image={2: height, 3: width})
    try:
        with torch.no_grad(), warnings.catch_warnings(action='ignore'), _whole_padding():
            return torch.export.export(model, (picture,), dynamic_shapes=sizes, strict=False)
    except Exception as error:  # of many kinds, most with a page of advice
        hint = '' if size else ': give the size of the pictures, --size HxW'
        what = f'pictures of {size[0]} x {size[1]}' if size else 'pictures of all sizes'
        raise UserError(
            f'torch.export does not trace this model for {what} ({first_line(error)}){hint}'
        ) from error


@contextmanager
def _whole_padding() -> Iterator[None]:
    """Has timm compute the padding of TensorFlow's convolutions in whole numbers.

    The same number, but it divides with a remainder, and of a size that is a multiple of 32 the
    tracer then sees that the padding does not depend on it.
    """
    try:
        from timm.layers import padding
    except ImportError:
        yield
        return

    def same_padding(length: int, kernel: int, stride: int, dilation: int) -> int:
        steps = (length + stride - 1) // stride - 1
        return torch.sym_max(steps * stride + (kernel - 1) * dilation + 1 - length, 0)

    with mock.patch.object(padding, 'get_same_padding', same_padding):
        yield
