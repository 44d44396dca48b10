"""Hungarian matching of all predictions and images at once, as MMDetection matches each.

Shapes: L predictions, B images, Q queries, K classes, P points, n targets of an image, N matched
masks of all images in a prediction.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .masks import MaskProduct, MaskTensors
from .matching_costs import Cost, pairwise_costs
from .points import SharedPoints
from .targets import Targets

_HIGH = 1e6  # a cost that no match is worth
_SHOWN = 3  # images named


@dataclass
class Matches:
    """Which query is matched to which target, in each prediction; by image, then by query.

    Attributes:
        images: (N,), the same in each prediction.
        counts: How many of the N are of each image: min(Q, n).
        queries: (L, N), index among an image's queries.
        targets: (L, N), index among the targets of the batch.
    """

    images: Tensor
    counts: list[int]
    queries: Tensor
    targets: Tensor


def num_matches(targets: Targets, num_queries: int) -> list[int]:
    """How many masks of each image will be matched in a prediction."""
    return [min(num_queries, n) for n in targets.counts]


@torch.no_grad()
def match(
    costs: Sequence[Cost],
    class_logits: Tensor,
    masks: MaskProduct | MaskTensors,
    targets: Targets,
    points: Tensor,
    faults: list[str] | None = None,
) -> Matches:
    """Matches queries to targets at the lowest total cost, with one transfer to the host.

    Args:
        costs: What to add up; ``has_known_costs`` says which can be.
        class_logits: (L, B, Q, K + 1).
        masks: Mask logits of the same predictions.
        targets: Targets of the B images, masks in the logits' type.
        points: Where masks are compared, (L, B, P, 2).
        faults: Takes what would be raised; costs that are not finite are then high ones.

    Raises:
        FloatingPointError: If logits are not finite, and there are no ``faults`` to add that to.
    """
    class_probs = class_logits.softmax(-1)
    matrices = [
        _costs_of_image(costs, class_probs[:, b], masks, b, *image, points[:, b])
        for b, image in enumerate(targets.by_image())
    ]
    class_errors = (class_logits * 0).sum((2, 3))  # not a number where a logit is not finite
    sizes = [class_errors.numel(), *(matrix.numel() for matrix in matrices)]
    host = to_host(torch.cat([class_errors.flatten(), *(matrix.flatten() for matrix in matrices)]))
    finite = np.isfinite(host)
    if not finite.all():
        class_bad = not_finite(class_logits)
        mask_bad = _masks_not_finite(class_bad, masks, matrices, points)
        bad = {'class logits': class_bad, 'mask logits': mask_bad}
        report(describe(bad, targets.name_of), faults)
        host = np.where(finite, host, _HIGH)
    problems = np.split(host, np.cumsum(sizes[:-1]))[1:]
    solutions = _solve([x.reshape(m.shape) for x, m in zip(problems, matrices, strict=True)])
    solved = torch.from_numpy(solutions).to(class_logits.device)
    counts = num_matches(targets, class_logits.shape[2])
    images = [solved.new_full((n,), image) for image, n in enumerate(counts)]
    return Matches(torch.cat(images), counts, *solved)


def _solve(problems: Sequence[np.ndarray]) -> np.ndarray:
    """Queries and targets (2, L, N) of lowest cost, from cost matrices (L, Q, n) of the images."""
    solutions, first_target = [], 0
    for matrices in problems:
        num_layers, num_queries, num_targets = matrices.shape
        solution = np.zeros((num_layers, 2, min(num_queries, num_targets)), dtype=np.int64)
        if num_targets:
            solution[:] = [linear_sum_assignment(matrix) for matrix in matrices]
        solutions.append(solution + [[0], [first_target]])
        first_target += num_targets
    return np.concatenate(solutions, 2).swapaxes(0, 1)


def to_host(x: Tensor) -> np.ndarray:
    """The one transfer from the device that matching waits for."""
    return x.cpu().numpy()


def _costs_of_image(
    costs: Sequence[Cost],
    class_probs: Tensor,
    masks: MaskProduct | MaskTensors,
    image: int,
    labels: Tensor,
    target_masks: Tensor,
    points: Tensor,
) -> Tensor:
    """Cost matrices (L, Q, n) from class probabilities (L, Q, K + 1) and points (L, P, 2)."""
    num_layers, num_queries = class_probs.shape[:2]
    if not len(labels):
        return class_probs.new_zeros(num_layers, num_queries, 0)
    read = masks.reader(image)
    table = target_masks.flatten(1).t().contiguous()
    size = target_masks.shape[1:]
    matrices = []
    for layer, at in enumerate(points):
        sampled = SharedPoints(at, size).sample(table)
        target_probs = class_probs[layer][:, labels]
        matrices.append(pairwise_costs(costs, target_probs, read(layer, at), sampled))
    return torch.stack(matrices)


def not_finite(logits: Iterable[Tensor]) -> np.ndarray:
    """Which of L predictions (B, ...) hold what is not finite, for each image: (L, B)."""
    return to_host(torch.stack([~x.flatten(1).isfinite().all(1) for x in logits]))


def _masks_not_finite(
    class_bad: np.ndarray,
    masks: MaskProduct | MaskTensors,
    matrices: Sequence[Tensor],
    points: Tensor,
) -> np.ndarray:
    """As :func:`not_finite`, of mask logits at the points where they are compared."""
    bad = np.zeros_like(class_bad)
    for image, matrix in enumerate(matrices):
        for layer, costs in enumerate(matrix):
            if costs.isfinite().all():
                continue
            # Finite logits of which a sum is not are as useless.
            bad[layer, image] = not class_bad[layer, image] or not (
                masks.reader(image)(layer, points[layer, image]).isfinite().all()
            )
    return bad


def describe(bad: dict[str, np.ndarray], name_of: Callable[[int], str]) -> str:
    """Which images cannot be matched, what of them is not finite, and in which prediction first.

    Args:
        bad: By what was predicted, such as 'class logits': (L, B), as of :func:`not_finite`.
        name_of: Gives an image's file.
    """
    any_bad = np.logical_or.reduce(list(bad.values()))
    layer = int(any_bad.any(1).argmax())
    names = list(dict.fromkeys(name_of(image) for image in any_bad.any(0).nonzero()[0].tolist()))
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    what = ' and '.join(kind for kind, flags in bad.items() if flags[layer].any())
    return f'{", ".join(names[:_SHOWN])}{more}: {what} are not finite in prediction {layer}'


def report(fault: str, faults: list[str] | None) -> None:
    """Adds a fault to those of an iteration, or raises it where nobody looks at them.

    Raises:
        FloatingPointError: ``faults`` is None.
    """
    if faults is None:
        raise FloatingPointError(
            f'{fault}, so nothing can be matched: look at these images, then at the weights, which '
            'a lower learning rate or training without mixed precision may keep from diverging'
        )
    faults.append(fault)
