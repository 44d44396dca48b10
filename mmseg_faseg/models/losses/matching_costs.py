"""MMDetection's matching costs of masks and classes, as matrix products over points.

Shapes: Q queries, n targets, P points.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch.nn.functional as F
from mmdet.models.task_modules.assigners import (
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    HungarianAssigner,
)
from torch import Tensor

Cost: TypeAlias = ClassificationCost | CrossEntropyLossCost | DiceCost


def has_known_costs(assigner: Any) -> bool:
    """Whether ``pairwise_costs`` computes what this assigner does."""
    return type(assigner) is HungarianAssigner and all(
        type(cost) is ClassificationCost
        or (type(cost) is CrossEntropyLossCost and cost.use_sigmoid)
        or (type(cost) is DiceCost and cost.pred_act)
        for cost in assigner.match_costs
    )


def pairwise_costs(
    costs: Sequence[Cost], target_probs: Tensor, mask_logits: Tensor, target_masks: Tensor
) -> Tensor:
    """Weighted sum of costs of each query and each target.

    Args:
        costs: MMDetection's costs, whose weights and settings are used.
        target_probs: Probability that each query gives to each target's class, (Q, n).
        mask_logits: (P, Q), at points.
        target_masks: (P, n), between 0 and 1, at the same points.

    Returns:
        (Q, n).
    """
    total: Any = 0
    for cost in costs:
        if isinstance(cost, ClassificationCost):
            value = -target_probs
        elif isinstance(cost, CrossEntropyLossCost):
            value = _cross_entropy(mask_logits, target_masks)
        else:
            value = _dice(
                mask_logits.sigmoid(), target_masks, cost.eps, 1 if cost.naive_dice else 2
            )
        total = total + cost.weight * value
    return total


def _cross_entropy(mask_logits: Tensor, target_masks: Tensor) -> Tensor:
    """Mean over points of log(1 + exp(x)) - x t, which needs one product."""
    # Beyond 40 log(1 + exp(x)) is x, in float64 too.
    softplus = F.softplus(mask_logits, threshold=40).sum(0)
    return (softplus[:, None] - _overlap(mask_logits, target_masks)) / len(mask_logits)


def _dice(probs: Tensor, target_masks: Tensor, eps: float, power: int) -> Tensor:
    overlap = 2 * _overlap(probs, target_masks)
    total = probs.pow(power).sum(0)[:, None] + target_masks.pow(power).sum(0)
    return 1 - (overlap + eps) / (total + eps)


def _overlap(x: Tensor, target_masks: Tensor) -> Tensor:
    """Sums (Q, n) over points of x (P, Q) times targets (P, n); this order is twice as fast."""
    return (target_masks.t() @ x).t()
