"""What the losses compare predictions with: the one place that reads data samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from mmdet.models.utils import preprocess_panoptic_gt
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from .points import sample_each


@dataclass
class Targets:
    """Targets of a batch, one image after the other.

    Attributes:
        labels: (sum of n,), int64.
        masks: (sum of n, H, W), 0 or 1, of any type.
        counts: n of each image.
        img_metas: Meta information of each image.
    """

    labels: Tensor
    masks: Tensor
    counts: list[int]
    img_metas: Sequence[dict]

    @classmethod
    def of(
        cls, labels: Sequence[Tensor], masks: Sequence[Tensor], img_metas: Sequence[dict]
    ) -> 'Targets':
        """Gathers labels (n,) and masks (n, H, W) of each image."""
        counts = [len(x) for x in labels]
        return cls(torch.cat(list(labels)).long(), torch.cat(list(masks)), counts, img_metas)

    def to(self, dtype: torch.dtype) -> 'Targets':
        """The same with masks of a type."""
        return replace(self, masks=self.masks.to(dtype))

    def by_image(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Labels (n,) and masks (n, H, W) of each image."""
        return zip(self.labels.split(self.counts), self.masks.split(self.counts), strict=True)

    def instances(self) -> list[InstanceData]:
        """The targets of each image as MMDetection passes them."""
        return [InstanceData(labels=labels, masks=masks) for labels, masks in self.by_image()]

    def sample(self, chosen: Tensor, points: Tensor) -> Tensor:
        """Values (N, P) of chosen masks (N,), each chosen at most once, at points (N, P, 2)."""
        if len(chosen) < len(self.masks):
            return sample_each(self.masks[chosen], points)
        # Points are put in the order of the masks, which are many times larger.
        return sample_each(self.masks, points[chosen.argsort()])[chosen]

    def name_of(self, image: int) -> str:
        """An image's file, for errors."""
        return self.img_metas[image].get('img_path', 'an image')


def from_label_maps(samples: Sequence[SegDataSample], ignore_index: int) -> Targets:
    """One target for each class that an image shows (semantic segmentation).

    Args:
        samples: Each with ``gt_sem_seg`` (1, H, W).
        ignore_index: Label without a class.
    """
    labels, masks = [], []
    for sample in samples:
        label_map = sample.gt_sem_seg.data
        shown = label_map.unique(sorted=False)
        shown = shown[shown != ignore_index]
        labels.append(shown)
        masks.append(label_map == shown[:, None, None])
    return Targets.of(labels, masks, [sample.metainfo for sample in samples])


def from_instances(samples: Sequence[DetDataSample]) -> Targets:
    """One target for each object (instance segmentation).

    Args:
        samples: Each with ``gt_instances``: ``labels`` (n,) and ``masks``, MMDetection's bitmaps or
            polygons, padded to one size by its data preprocessor.
    """
    return _from_detection(samples, [None] * len(samples), 0, 0)


def from_panoptic(samples: Sequence[DetDataSample], num_things: int, num_stuff: int) -> Targets:
    """One target for each object, and one for each stuff class that an image shows.

    Args:
        samples: As in :func:`from_instances`, and with ``gt_sem_seg.sem_seg`` (1, H, W).
        num_things: Number of classes of objects, whose ids come first.
        num_stuff: Number of the others.
    """
    label_maps = [sample.gt_sem_seg.sem_seg for sample in samples]
    return _from_detection(samples, label_maps, num_things, num_stuff)


def _from_detection(
    samples: Sequence[DetDataSample],
    label_maps: Sequence[Tensor | None],
    num_things: int,
    num_stuff: int,
) -> Targets:
    labels, masks = zip(
        *(
            preprocess_panoptic_gt(
                sample.gt_instances.labels,
                sample.gt_instances.masks,
                label_map,
                num_things,
                num_stuff,
            )
            for sample, label_map in zip(samples, label_maps, strict=True)
        ),
        strict=True,
    )
    return Targets.of(labels, masks, [sample.metainfo for sample in samples])
