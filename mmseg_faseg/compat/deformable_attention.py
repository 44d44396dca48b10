"""Lets MMCV's deformable attention run on a GPU that mmcv was not compiled for.

MMCV takes its CUDA operator for every tensor on a GPU. Where mmcv was built without it, stock heads
such as Mask2Former's end in an error; MMCV's own formula in PyTorch gives the same numbers, slower.
"""

from mmcv.ops import get_compiling_cuda_version, multi_scale_deform_attn


def sample_without_operator() -> None:
    """Makes MMCV take its PyTorch formula on CUDA too, if its operator is not compiled."""
    if get_compiling_cuda_version() == 'not available':
        multi_scale_deform_attn.IS_CUDA_AVAILABLE = False
