"""The head of FASeg for instances and panoptic segments: MMDetection's contract."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmdet.models import Mask2FormerHead
from mmdet.structures import SampleList
from torch import Tensor

from ...registry import register
from ..losses import from_instances, from_panoptic
from ..mask2former_contract import Mask2FormerContract
from ..mask_head import MaskHead


@register
class FASegPanopticHead(Mask2FormerContract, Mask2FormerHead):
    """Mask2Former's head with dynamic positional queries and high-resolution cross-attention.

    Takes the place of MMDetection's ``Mask2FormerHead`` in its detectors ``Mask2Former`` and
    ``MaskFormer``: methods, attribute and parameter names, losses. What it computes, and the
    arguments that are not named here, are those of
    :class:`mmseg_faseg.models.mask_head.MaskHead`.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's maps, finest first.
        num_things_classes (int): Number of classes of objects, whose ids come first.
        num_stuff_classes (int): Number of the others; 0 for instance segmentation.
        test_cfg (dict, optional): Not used by the head itself.
        **kwargs: As in :class:`mmseg_faseg.models.mask_head.MaskHead`.

    Raises:
        ValueError: A number of classes is negative, or there are none.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_things_classes: int,
        num_stuff_classes: int,
        *,
        test_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        counts = dict(num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes)
        for name, count in counts.items():
            if count < 0:
                raise ValueError(f'{name} must be at least 0, got {count}')
        if not any(counts.values()):
            raise ValueError('num_things_classes and num_stuff_classes are both 0')
        MaskHead.__init__(self, in_channels, sum(counts.values()), **kwargs)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.test_cfg = test_cfg

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Computes the losses of every prediction.

        The same as ``loss_by_feat`` of what ``forward`` returns, but no mask is made with a
        gradient that no target was matched to.

        Args:
            x: The backbone's maps, finest first.
            batch_data_samples: Samples with ``gt_instances`` and, where there is stuff,
                ``gt_sem_seg``.

        Returns:
            Losses by name, as MMDetection's head names them, and those of a mask pilot.
        """
        if self.num_stuff_classes:
            counts = self.num_things_classes, self.num_stuff_classes
            return self.train_losses(x, from_panoptic(batch_data_samples, *counts))
        return self.train_losses(x, from_instances(batch_data_samples))

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> tuple[Tensor, Tensor]:
        """Makes the last prediction, at the size of the network's input.

        Args:
            x: The backbone's maps, finest first.
            batch_data_samples: Samples with ``batch_input_shape``.

        Returns:
            Class logits (B, Q, K + 1), the last class 'no object', and mask logits (B, Q, H, W).
        """
        class_logits, mask_logits = self.predict_last(x)
        size = batch_data_samples[0].metainfo['batch_input_shape']
        return class_logits, F.interpolate(mask_logits, size, mode='bilinear', align_corners=False)
