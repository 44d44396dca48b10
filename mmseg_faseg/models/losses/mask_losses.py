"""Losses of all predictions: MMDetection's values, with class weights for any number of classes."""

from collections.abc import Callable, Iterator, Sequence

import torch
from mmdet.models import Mask2FormerHead
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmdet.utils import reduce_mean
from mmengine.model import BaseModule
from mmseg.registry import TASK_UTILS
from torch import Tensor

from ...registry import MODELS
from .eager_gradient import EagerGradient
from .masks import MaskProduct, MaskTensors
from .matching import Matches, describe, match, not_finite, num_matches, report
from .matching_costs import has_known_costs
from .points import LossPoints, PointDraws, default_generator, sample_each
from .targets import Targets


class MaskLosses(BaseModule):
    """Matches and supervises every prediction as Mask2Former does.

    All predictions and images are matched together, before any mask loss. With an assigner, costs
    or a sampler other than Mask2Former's, MMDetection's own path runs, one prediction and image at
    a time.

    Args:
        num_classes: Number of classes K.
        num_queries: Number of queries Q.
        loss_cls: Config of the classification loss. Without a ``class_weight`` every class weighs 1
            and 'no object' 0.1.
        loss_mask: Config of the mask loss on points.
        loss_dice: Config of the dice loss on points.
        train_cfg: Matching and point sampling, as MMDetection's head takes it; None where nothing
            is trained.
        init_cfg: MMEngine's initialisation.

    Attributes:
        faults: None, or a list for what is not finite in an iteration: losses are then not finite
            either, in place of an error, so that all processes come as far as their gradients.

    Raises:
        ValueError: The class weights are not as many as the classes and 'no object'.
    """

    def __init__(
        self,
        num_classes: int,
        num_queries: int,
        loss_cls: dict,
        loss_mask: dict,
        loss_dice: dict,
        train_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        # Not super(): a head may have OpenMMLab's head behind this one, for its contract.
        BaseModule.__init__(self, init_cfg)
        class_weight = loss_cls.get('class_weight') or [1.0] * num_classes + [0.1]
        if len(class_weight) != num_classes + 1:
            raise ValueError(
                f'loss_cls.class_weight must have num_classes + 1 = {num_classes + 1} '
                f'entries, got {len(class_weight)}; leave it out for 1 per class and 0.1 for none'
            )
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.class_weight = class_weight
        self.loss_cls = MODELS.build({**loss_cls, 'class_weight': class_weight})
        self.loss_mask = MODELS.build(loss_mask)
        self.loss_dice = MODELS.build(loss_dice)
        self.train_cfg = train_cfg
        self.faults: list[str] | None = None
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(train_cfg['sampler'], default_args=dict(context=self))
            self.num_points = train_cfg.get('num_points', 12544)
            self.oversample_ratio = train_cfg.get('oversample_ratio', 3.0)
            self.importance_sample_ratio = train_cfg.get('importance_sample_ratio', 0.75)

    @torch.compiler.disable  # matching is NumPy's and SciPy's
    def losses_of(
        self, class_logits: Tensor, masks: MaskProduct | MaskTensors, targets: Targets
    ) -> dict[str, Tensor]:
        """Matches and supervises every prediction.

        Args:
            class_logits: (L, B, Q, K + 1), at least float32, as the mask logits.
            masks: Mask logits of the same predictions and queries.
            targets: Targets of the B images.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice`` of the last prediction, and of the others
            with ``d0.``, ``d1.`` and so on before the name.

        Raises:
            FloatingPointError: If logits are not finite, and ``faults`` is None.
            ValueError: If the head was built without ``train_cfg``.
        """
        if not self.train_cfg:
            raise ValueError('losses need train_cfg, with assigner and sampler; got none')
        if type(self.sampler) is not MaskPseudoSampler or not has_known_costs(self.assigner):
            return self._losses_one_by_one(list(class_logits), masks.tensors(), targets)
        with torch.autocast(class_logits.device.type, enabled=False):
            targets = targets.to(class_logits.dtype)
            num_layers, num_images, num_queries = class_logits.shape[:3]
            num_masks = sum(num_matches(targets, num_queries))
            device = class_logits.device
            draws = PointDraws.draw(num_layers, num_images, num_masks, self._loss_points, device)
            costs = self.assigner.match_costs
            matches = match(costs, class_logits, masks, targets, draws.matching, self.faults)
            losses = self._losses_of_matches(class_logits, masks, targets, matches, draws.generator)
            return _named(list(losses))

    @torch.compiler.disable
    def losses_of_matched(
        self, class_logits: Tensor, masks: MaskProduct, targets: Targets, matches: Matches
    ) -> dict[str, Tensor]:
        """Supervises queries whose targets are known; others are left alone.

        Args:
            class_logits: (L, B, P, K + 1), at least float32, as the mask logits.
            masks: Mask logits of the same predictions and queries.
            targets: Targets of the B images.
            matches: Which query has which target.

        Returns:
            As ``losses_of``, of L predictions.
        """
        with torch.autocast(class_logits.device.type, enabled=False):
            generator = default_generator(class_logits.device)
            targets = targets.to(class_logits.dtype)
            losses = self._losses_of_matches(
                class_logits, masks, targets, matches, lambda layer: generator, only_matched=True
            )
            return _named(list(losses))

    def _losses_one_by_one(
        self, class_logits: Sequence[Tensor], masks: Sequence[Tensor], targets: Targets
    ) -> dict[str, Tensor]:
        """MMDetection's losses, whose assigner is given finite costs only."""
        class_bad, mask_bad = not_finite(class_logits), not_finite(masks)
        faulty = class_bad.any() or mask_bad.any()
        if faulty:
            bad = {'class logits': class_bad, 'mask logits': mask_bad}
            report(describe(bad, targets.name_of), self.faults)
            class_logits = [logits.nan_to_num() for logits in class_logits]
            masks = [logits.nan_to_num() for logits in masks]
        losses = _OneByOne(self).loss_by_feat(
            class_logits, list(masks), targets.instances(), targets.img_metas
        )
        return {name: loss * torch.nan if faulty else loss for name, loss in losses.items()}

    @property
    def _loss_points(self) -> LossPoints:
        return LossPoints(self.num_points, self.oversample_ratio, self.importance_sample_ratio)

    def _losses_of_matches(
        self,
        class_logits: Tensor,
        masks: MaskProduct | MaskTensors,
        targets: Targets,
        matches: Matches,
        generator: Callable[[int], torch.Generator],
        only_matched: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Class, mask and dice loss of each prediction."""
        class_losses = self._class_losses(class_logits, matches, targets, only_matched)
        # MMDetection counts an image without a target as one mask.
        num_masks = class_logits.new_full((1,), sum(max(n, 1) for n in matches.counts))
        num_masks = reduce_mean(num_masks).clamp(min=1)
        mask_logits = masks.matched(matches.images, matches.counts, matches.queries)
        for layer, logits in enumerate(mask_logits):
            if len(logits):
                at = self._loss_points.choose(logits, generator(layer))
                at_targets = targets.sample(matches.targets[layer], at)
                losses = self._mask_losses(logits, at, at_targets, num_masks)
            else:
                losses = logits.sum(), logits.sum()  # 0, with a gradient for every parameter
            yield class_losses[layer], *losses

    def _class_losses(
        self, class_logits: Tensor, matches: Matches, targets: Targets, only_matched: bool
    ) -> list[Tensor]:
        """Class loss of each prediction; other queries are 'no object', or do not count."""
        num_queries = class_logits.shape[2]
        labels = torch.full(
            class_logits.shape[:3], self.num_classes, device=class_logits.device
        ).flatten(1)
        labels.scatter_(
            1, matches.images * num_queries + matches.queries, targets.labels[matches.targets]
        )
        weights = torch.ones_like(labels)
        if only_matched:
            weights = (labels != self.num_classes).to(labels.dtype)
        totals = (class_logits.new_tensor(self.class_weight)[labels] * weights).sum(1)
        return [
            self.loss_cls(logits, label, weight, avg_factor=total)
            for logits, label, weight, total in zip(
                class_logits.flatten(1, 2), labels, weights, totals, strict=True
            )
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


class _OneByOne(Mask2FormerHead):
    """MMDetection's path to the losses of a head, one prediction and image at a time."""

    def __init__(self, losses: MaskLosses) -> None:
        BaseModule.__init__(self)
        self.num_classes, self.num_queries = losses.num_classes, losses.num_queries
        self.class_weight = losses.class_weight
        self.loss_cls, self.loss_mask = losses.loss_cls, losses.loss_mask
        self.loss_dice = losses.loss_dice
        self.assigner, self.sampler = losses.assigner, losses.sampler
        self.num_points, self.oversample_ratio = losses.num_points, losses.oversample_ratio
        self.importance_sample_ratio = losses.importance_sample_ratio


def _named(losses: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    """Losses under MMDetection's names, those of the last prediction first."""
    prefixes = ['', *(f'd{layer}.' for layer in range(len(losses) - 1))]
    return {
        f'{prefix}{name}': value
        for prefix, values in zip(prefixes, [losses[-1], *losses[:-1]], strict=True)
        for name, value in zip(('loss_cls', 'loss_mask', 'loss_dice'), values, strict=True)
    }
