"""What MMSegmentation's and MMDetection's Mask2Former heads have in common."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .losses import MaskTensors, Targets
from .mask_head import MaskHead


class Mask2FormerContract(MaskHead):
    """A mask head that gives predictions and losses in the form of OpenMMLab's heads."""

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: Any = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Makes every prediction, before the first and after each layer.

        Args:
            x: The backbone's maps, finest first.
            batch_data_samples: Not used; part of the contract.

        Returns:
            Class logits (B, Q, K + 1) and mask logits (B, Q, H / 4, W / 4) of each prediction, at
            least in float32.
        """
        class_logits, masks = self.predict_all(x)
        return list(class_logits), list(masks.tensors())

    def loss_by_feat(
        self,
        all_cls_scores: Sequence[Tensor],
        all_mask_preds: Sequence[Tensor],
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
    ) -> dict[str, Tensor]:
        """Computes the losses of L predictions whose masks exist.

        Args:
            all_cls_scores: L tensors (B, Q, K + 1).
            all_mask_preds: L tensors (B, Q, H, W).
            batch_gt_instances: ``labels`` (n,) and ``masks`` (n, H', W') of each image.
            batch_img_metas: Meta information of the images, for their names in errors.

        Returns:
            As ``loss``.
        """
        targets = Targets.of(
            [instances.labels for instances in batch_gt_instances],
            [instances.masks for instances in batch_gt_instances],
            batch_img_metas,
        )
        class_logits = torch.stack(list(all_cls_scores))
        return self.losses_of(class_logits, MaskTensors(list(all_mask_preds)), targets)
