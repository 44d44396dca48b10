"""From masks to objects (Mask2Former, instance inference)."""

from collections.abc import Callable

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..decoders.mask_boxes import boxes_around
from .rows import Activation, MaskRows


def mean_inside(totals: Tensor, areas: Tensor) -> Tensor:
    """How certain masks are, (N,), from the sums of their values inside and their areas."""
    return totals / (areas + 1e-6)


def predict_instances(
    rows: MaskRows, class_probs: Tensor, num_things: int, max_per_image: int
) -> InstanceData:
    """The objects of an image, which may overlap.

    A query may stand for objects of several classes. The score of one is its class probability
    times the mean mask probability within its mask. As MMDetection's ``MaskFormerFusionHead``.

    Args:
        rows: Masks of the image.
        class_probs: Without 'no object', (Q, K).
        num_things: Number of classes of objects, whose ids come first.
        max_per_image: How many pairs of query and class are looked at, the most probable ones;
            those of stuff are then left out.

    Returns:
        ``labels`` (N,), ``scores`` (N,), ``masks`` (N, H, W), bool, and ``bboxes`` (N, 4) as
        (x1, y1, x2, y2) in pixels of the original image.
    """
    num_classes = class_probs.shape[1]
    count = min(max_per_image, class_probs.numel())
    scores, pairs = class_probs.flatten().topk(count, sorted=False)
    labels = pairs % num_classes
    is_thing = labels < num_things
    queries = pairs[is_thing].div(num_classes, rounding_mode='floor')
    found = instances_of(rows, queries, labels[is_thing], scores[is_thing])
    found.bboxes = boxes_around(found.masks)
    return found


def instances_of(
    rows: MaskRows,
    queries: Tensor,
    labels: Tensor,
    scores: Tensor,
    threshold: float = 0,
    activation: Activation = Tensor.sigmoid_,
    certainty: Callable[[Tensor, Tensor], Tensor] = mean_inside,
) -> InstanceData:
    """The objects that chosen masks of an image are.

    Args:
        rows: Masks of the image.
        queries: Which mask each object has, (N,).
        labels: Of the objects, (N,).
        scores: Probability of the class, (N,).
        threshold: A pixel is inside where the mask logit is larger.
        activation: From mask logits, which it overwrites, to how certain they are.
        certainty: As :func:`mean_inside`; a score is its product with the class's probability.

    Returns:
        As of :func:`predict_instances`, without boxes.
    """
    masks = torch.empty(len(queries), *rows.ori_shape, dtype=torch.bool, device=rows.device)
    totals, areas = torch.zeros_like(scores), torch.zeros_like(labels)
    for where, logits in rows.chunks():
        logits = logits[..., queries]
        inside = logits > threshold
        masks[:, where] = inside.permute(2, 0, 1)
        totals += activation(logits).mul_(inside).sum((0, 1))
        areas += inside.sum((0, 1))
    return InstanceData(labels=labels, scores=scores * certainty(totals, areas), masks=masks)
