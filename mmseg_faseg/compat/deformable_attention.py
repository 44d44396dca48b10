"""Lets MMCV's deformable attention run on a GPU whatever mmcv was compiled for.

MMCV takes its CUDA operator for every tensor on a GPU. Where mmcv was built without it, stock heads
such as Mask2Former's end in an error, and in bfloat16 they do so where it is there (mmcv 2.1.0).
"""

import torch
from mmcv.ops import get_compiling_cuda_version, multi_scale_deform_attn
from torch import Tensor


class _Bfloat16InFloat32:
    """MMCV's operator, which gets bfloat16 values as float32.

    Args:
        operator: MMCV's autograd function.
    """

    def __init__(self, operator: type[torch.autograd.Function]) -> None:
        self.operator = operator

    def apply(
        self, value: Tensor, shapes, starts, locations: Tensor, weights: Tensor, step
    ) -> Tensor:
        """Samples and sums, as the operator's ``apply``, in the type of ``value``."""
        if value.dtype is not torch.bfloat16:
            return self.operator.apply(value, shapes, starts, locations, weights, step)
        floats = [x.float() for x in (value, locations, weights)]
        out = self.operator.apply(floats[0], shapes, starts, *floats[1:], step)
        return out.to(value.dtype)


def prepare_operator() -> None:
    """Makes MMCV take its PyTorch formula on CUDA if its operator is missing, else mends that."""
    if get_compiling_cuda_version() == 'not available':
        multi_scale_deform_attn.IS_CUDA_AVAILABLE = False
    elif not isinstance(
        multi_scale_deform_attn.MultiScaleDeformableAttnFunction, _Bfloat16InFloat32
    ):
        operator = multi_scale_deform_attn.MultiScaleDeformableAttnFunction
        multi_scale_deform_attn.MultiScaleDeformableAttnFunction = _Bfloat16InFloat32(operator)
