"""Labelled images that look like scenes, for training iterations that are measured."""

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

_GRID = (6, 8)  # segments of an image


def labelled_samples(head: dict, size: tuple[int, int], batch: int) -> list:
    """Samples of as many images as ``batch`` for the head of a config."""
    if 'num_classes' in head:
        return [label_map_sample(labels) for labels in label_maps(head['num_classes'], size, batch)]
    things = head['num_things_classes']
    maps = label_maps(things + head['num_stuff_classes'], size, batch)
    return [panoptic_sample(labels, things) for labels in maps]


def label_maps(num_classes: int, size: tuple[int, int], batch: int) -> Tensor:
    """Label maps (B, H, W), int64: 6 x 8 segments of at most 15 classes, as ADE20K's images."""
    generator = torch.Generator().manual_seed(0)
    maps = []
    for _ in range(batch):
        chosen = torch.randperm(num_classes, generator=generator)[:15]
        segments = chosen[torch.randint(len(chosen), (1, 1, *_GRID), generator=generator)]
        maps.append(F.interpolate(segments.double(), size)[0, 0].long())
    return torch.stack(maps)


def label_map_sample(labels: Tensor) -> SegDataSample:
    """A sample of MMSegmentation with a label map (H, W)."""
    sample = SegDataSample(metainfo=_meta(labels))
    sample.gt_sem_seg = PixelData(data=labels[None])
    return sample


def panoptic_sample(labels: Tensor, num_things: int) -> DetDataSample:
    """A sample of MMDetection: each of the segments of a thing is an object."""
    size = labels.shape
    cells = torch.arange(_GRID[0] * _GRID[1]).view(1, 1, *_GRID).double()
    segments = F.interpolate(cells, size)[0, 0].long()
    masks = (segments == torch.arange(cells.numel())[:, None, None]) & (labels < num_things)
    masks = masks[masks.flatten(1).any(1)]
    bitmaps = BitmapMasks(masks.numpy().astype('uint8'), *size)
    sample = DetDataSample(metainfo=_meta(labels))
    sample.gt_instances = InstanceData(
        labels=labels.flatten()[masks.flatten(1).int().argmax(1)],
        bboxes=bitmaps.get_bboxes(HorizontalBoxes).tensor,
        masks=bitmaps,
    )
    sample.gt_sem_seg = PixelData(sem_seg=labels[None])
    return sample


def _meta(labels: Tensor) -> dict:
    size = tuple(labels.shape)
    return dict(ori_shape=size, img_shape=size, pad_shape=size, batch_input_shape=size)
