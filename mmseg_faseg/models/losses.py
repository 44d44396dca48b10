"""Matching and losses: MMDetection's, with class weights that follow the number of classes."""

from mmengine.structures import InstanceData
from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.registry import TASK_UTILS
from torch import Tensor

from ..registry import MODELS


class MaskLossHead(Mask2FormerHead):
    """What a head inherits to match and supervise each of its predictions as Mask2Former does.

    A subclass sets ``num_classes`` and ``train_cfg``, then calls ``_init_losses``.
    """

    def _init_losses(self, loss_cls: dict, loss_mask: dict, loss_dice: dict) -> None:
        class_weight = loss_cls.get('class_weight') or [1.0] * self.num_classes + [0.1]
        if len(class_weight) != self.num_classes + 1:
            raise ValueError(
                f'loss_cls.class_weight must have num_classes + 1 = {self.num_classes + 1} '
                f'entries, got {len(class_weight)}; leave it out for 1 per class and 0.1 for none'
            )
        self.class_weight = class_weight
        self.loss_cls = MODELS.build({**loss_cls, 'class_weight': class_weight})
        self.loss_mask = MODELS.build(loss_mask)
        self.loss_dice = MODELS.build(loss_dice)
        if self.train_cfg:
            self.assigner = TASK_UTILS.build(self.train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(
                self.train_cfg['sampler'], default_args=dict(context=self)
            )
            self.num_points = self.train_cfg.get('num_points', 12544)
            self.oversample_ratio = self.train_cfg.get('oversample_ratio', 3.0)
            self.importance_sample_ratio = self.train_cfg.get('importance_sample_ratio', 0.75)

    def _get_targets_single(
        self, cls_score: Tensor, mask_pred: Tensor, gt_instances: InstanceData, img_meta: dict
    ) -> tuple:
        """MMDetection's matching of one image, whose failure names the image and the cause."""
        try:
            return super()._get_targets_single(cls_score, mask_pred, gt_instances, img_meta)
        except ValueError as error:
            logits = {'class': cls_score, 'mask': mask_pred}
            bad = [f'{name} logits' for name, x in logits.items() if not x.isfinite().all()]
            if not bad:
                raise
            raise FloatingPointError(
                f'{img_meta.get("img_path", "an image")}: {" and ".join(bad)} are not finite, so '
                'nothing can be matched. The weights have diverged: go on from an earlier '
                'checkpoint with a lower learning rate, or without mixed precision'
            ) from error
