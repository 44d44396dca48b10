"""Inputs of every task, the same for all subjects: seeded by their size."""

import math

import numpy as np
import torch
from torch import Tensor

from ..datasets.toy_painter import paint_scene

# Classes that an image of ADE20K shows or a little more.
_CLASSES_PER_IMAGE = 15
_SEGMENTS_PER_IMAGE = 40
# In pixels: painting takes long. Larger images are tiles of such scenes.
_LARGEST_SCENE = 512

Size = tuple[int, int]


def feature_maps(channels: list[int], strides: list[int], size: Size, batch: int) -> list[Tensor]:
    """Standard normal maps (B, C_l, H / s_l, W / s_l), finest first, as a backbone gives them."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, c, math.ceil(size[0] / s), math.ceil(size[1] / s), generator=generator)
        for c, s in zip(channels, strides, strict=True)
    ]


def images(size: Size, batch: int, mean: Tensor, std: Tensor) -> Tensor:
    """Painted scenes (B, 3, H, W), normalised: even trained weights find something in them.

    Args:
        size: (H, W) in pixels.
        batch: Number of images B.
        mean: Of the three channels, (3, 1, 1).
        std: Likewise.
    """
    edge = min(max(64, *size), _LARGEST_SCENE)
    tiles = [math.ceil(length / edge) for length in size]
    scenes = []
    for seed in range(batch):
        scene, _ = paint_scene(np.random.default_rng(seed), edge)
        tiled = np.tile(scene, (*tiles, 1))[: size[0], : size[1]]
        scenes.append(torch.from_numpy(tiled).permute(2, 0, 1))
    return ((torch.stack(scenes) - mean) / std).contiguous()


def label_maps(num_classes: int, size: Size, batch: int) -> Tensor:
    """Label maps (B, H, W), int64: 40 segments of at most 15 classes, like ADE20K's."""
    generator = torch.Generator().manual_seed(0)
    height, width = (math.ceil(length / 4) for length in size)
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    maps = []
    for _ in range(batch):
        chosen = torch.randperm(num_classes, generator=generator)[:_CLASSES_PER_IMAGE]
        classes = chosen[torch.arange(_SEGMENTS_PER_IMAGE) % len(chosen)]
        centres = torch.rand(_SEGMENTS_PER_IMAGE, 2, generator=generator)
        nearest = torch.cdist(pixels, centres * torch.tensor([height, width])).argmin(1)
        coarse = classes[nearest].view(height, width)
        fine = coarse.repeat_interleave(4, 0).repeat_interleave(4, 1)
        maps.append(fine[: size[0], : size[1]])
    return torch.stack(maps)
