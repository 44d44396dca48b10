"""Losses of all predictions: MMDetection's values, with class weights for any number of classes."""

from collections.abc import Iterator, Sequence

import torch
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.registry import TASK_UTILS
from torch import Tensor

from ...registry import MODELS
from .eager_gradient import EagerGradient
from .masks import MaskProduct, MaskTensors
from .matching import Matches, Targets, match, num_matches
from .matching_costs import has_known_costs
from .points import LossPoints, PointDraws, sample_each


class MaskLossHead(Mask2FormerHead):
    """What a head inherits to match and supervise each of its predictions as Mask2Former does.

    All predictions and images are matched together, before any mask loss. With an assigner, costs
    or a sampler other than Mask2Former's, MMDetection's own path runs, one prediction and image at
    a time.

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

    def loss_by_feat(
        self,
        all_cls_scores: Sequence[Tensor],
        all_mask_preds: Sequence[Tensor],
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
    ) -> dict[str, Tensor]:
        """MMDetection's contract: ``losses_of`` of L class and mask logits.

        Args:
            all_cls_scores: L tensors (B, Q, K + 1).
            all_mask_preds: L tensors (B, Q, H, W).
            batch_gt_instances: As of ``losses_of``.
            batch_img_metas: As of ``losses_of``.

        Returns:
            As of ``losses_of``.
        """
        class_logits = torch.stack(list(all_cls_scores))
        masks = MaskTensors(list(all_mask_preds))
        return self.losses_of(class_logits, masks, batch_gt_instances, batch_img_metas)

    def losses_of(
        self,
        class_logits: Tensor,
        masks: MaskProduct | MaskTensors,
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
    ) -> dict[str, Tensor]:
        """Matches and supervises every prediction.

        Args:
            class_logits: (L, B, Q, K + 1), at least float32, as the mask logits.
            masks: Mask logits of the same predictions and queries.
            batch_gt_instances: ``labels`` (n,) and ``masks`` (n, H', W') of each image.
            batch_img_metas: Meta information of the images, for their names in errors.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice`` of the last prediction, and of the others
            with ``d0.``, ``d1.`` and so on before the name.

        Raises:
            FloatingPointError: If logits are not finite.
        """
        known = type(self.sampler) is MaskPseudoSampler and has_known_costs(self.assigner)
        if not known:
            return super().loss_by_feat(
                list(class_logits), masks.tensors(), batch_gt_instances, batch_img_metas
            )
        with torch.autocast(class_logits.device.type, enabled=False):
            losses = self._matched_losses(class_logits, masks, batch_gt_instances, batch_img_metas)
            return _named(list(losses))

    def _matched_losses(
        self,
        class_logits: Tensor,
        masks: MaskProduct | MaskTensors,
        instances: Sequence[InstanceData],
        img_metas: Sequence[dict],
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Class, mask and dice loss of each prediction."""
        num_layers, num_images, num_queries = class_logits.shape[:3]
        targets = Targets.of(instances, class_logits.dtype)
        counts = num_matches(targets, num_queries)
        rule = LossPoints(self.num_points, self.oversample_ratio, self.importance_sample_ratio)
        draws = PointDraws.draw(num_layers, num_images, sum(counts), rule, class_logits.device)
        matches = match(
            self.assigner.match_costs,
            class_logits,
            masks,
            targets,
            draws.matching,
            lambda image: img_metas[image].get('img_path', 'an image'),
        )
        class_losses = self._class_losses(class_logits, matches, targets)
        # MMDetection counts an image without a target as one mask.
        num_masks = class_logits.new_full((1,), sum(max(n, 1) for n in counts))
        num_masks = reduce_mean(num_masks).clamp(min=1)
        mask_logits = masks.matched(matches.images, matches.counts, matches.queries)
        for layer, logits in enumerate(mask_logits):
            if len(logits):
                at = rule.choose(logits, draws.generator(layer))
                at_targets = targets.sample(matches.targets[layer], at)
                losses = self._mask_losses(logits, at, at_targets, num_masks)
            else:
                losses = logits.sum(), logits.sum()  # 0, with a gradient for every parameter
            yield class_losses[layer], *losses

    def _class_losses(
        self, class_logits: Tensor, matches: Matches, targets: Targets
    ) -> list[Tensor]:
        num_queries = class_logits.shape[2]
        labels = torch.full(
            class_logits.shape[:3], self.num_classes, device=class_logits.device
        ).flatten(1)
        labels.scatter_(
            1, matches.images * num_queries + matches.queries, targets.labels[matches.targets]
        )
        totals = class_logits.new_tensor(self.class_weight)[labels].sum(1)
        weights = torch.ones_like(labels[0])
        return [
            self.loss_cls(logits, label, weights, avg_factor=total)
            for logits, label, total in zip(class_logits.flatten(1, 2), labels, totals, strict=True)
        ]

    def _mask_losses(
        self, mask_logits: Tensor, points: Tensor, targets: Tensor, num_masks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mask and dice loss of masks (N, H, W) at points (N, P, 2) with ``targets`` (N, P)."""

        def losses_of(mask_logits: Tensor) -> tuple[Tensor, Tensor]:
            logits = sample_each(mask_logits, points)
            dice = self.loss_dice(logits, targets, avg_factor=num_masks)
            mask = self.loss_mask(
                logits.flatten(), targets.flatten(), avg_factor=num_masks * self.num_points
            )
            return mask, dice

        return EagerGradient.apply(mask_logits, losses_of)


def _named(losses: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    """Losses under MMDetection's names, those of the last prediction first."""
    prefixes = ['', *(f'd{layer}.' for layer in range(len(losses) - 1))]
    return {
        f'{prefix}{name}': value
        for prefix, values in zip(prefixes, [losses[-1], *losses[:-1]], strict=True)
        for name, value in zip(('loss_cls', 'loss_mask', 'loss_dice'), values, strict=True)
    }
