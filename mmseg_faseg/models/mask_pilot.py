"""Mask-piloted training (MP-Former): a second group of queries that is told its targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .losses import Targets
from .losses.matching import Matches


class MaskPilot(BaseModule):
    """Makes queries that start from the targets, for training only.

    `MP-Former: Mask-Piloted Transformer for Image Segmentation <https://arxiv.org/abs/2303.07336>`_
    (CVPR 2023). Each such query starts from the embedding of its target's class and attends, in
    every layer, within its target's mask in place of a predicted one. From the paper: all layers
    are told the mask, and noise flips labels and points, with shares of 0.2.

    Args:
        num_classes (int): Number of classes K.
        embed_dims (int): Width C.
        label_noise (float): Probability that a query starts from another class than its target's.
        mask_noise (float): How many points of the mask are wrong, as a share of those inside it;
            they lie anywhere in the image.
        max_targets (int): At most so many queries for an image; of more targets some are drawn.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        label_noise: float = 0.2,
        mask_noise: float = 0.2,
        max_targets: int = 100,
    ) -> None:
        super().__init__()
        for name, share in dict(label_noise=label_noise, mask_noise=mask_noise).items():
            if not 0 <= share <= 1:
                raise ValueError(f'mask_pilot.{name} must lie in [0, 1], got {share}')
        if max_targets < 1:
            raise ValueError(f'mask_pilot.max_targets must be at least 1, got {max_targets}')
        self.label_noise = label_noise
        self.mask_noise = mask_noise
        self.max_targets = max_targets
        self.query_feat = nn.Embedding(num_classes, embed_dims)
        self.query_embed = nn.Embedding(num_classes, embed_dims)

    def forward(
        self, targets: Targets, size: tuple[int, int], num_predictions: int
    ) -> 'PilotQueries':
        """Makes the queries of a batch.

        Args:
            targets: Targets of the B images.
            size: Size (H, W) of the finest level, at which masks are kept.
            num_predictions: How many predictions L these queries will make.
        """
        masks, labels = _masks_at(targets.masks, size), targets.labels
        seats = self._seats(targets.counts, masks.flatten(1).any(1).tolist())
        present = seats >= 0
        images, places = present.nonzero(as_tuple=True)
        matched = seats[images, places].expand(num_predictions, -1)
        if not len(labels):  # places without a target start from any
            masks, labels = masks.new_zeros(1, *size), labels.new_zeros(1)
        chosen = seats.clamp(min=0).to(labels.device)
        labels = self._flipped(labels[chosen])
        return PilotQueries(
            query=self.query_feat(labels),
            query_embed=self.query_embed(labels),
            present=present.to(labels.device),
            guide=TargetMasks(masks[chosen], self.mask_noise),
            matches=Matches(
                images.to(labels.device),
                present.sum(1).tolist(),
                places.expand(num_predictions, -1).to(labels.device),
                matched.to(labels.device),
            ),
        )

    def _seats(self, counts: Sequence[int], seen: Sequence[bool]) -> Tensor:
        """Which target of the batch each query has, (B, P), on the host.

        Args:
            counts: Number of targets of each image.
            seen: Whether a target has a pixel; it gets no query otherwise.

        Returns:
            Index of the target; -1 where an image has fewer than P.
        """
        drawn, first = [], 0
        for count in counts:
            own = torch.tensor([i for i in range(first, first + count) if seen[i]])
            drawn.append(own[torch.randperm(len(own))][: self.max_targets].long())
            first += count
        seats = pad_sequence(drawn, batch_first=True, padding_value=-1)
        return seats if seats.shape[1] else seats.new_full((len(counts), 1), -1)

    def _flipped(self, labels: Tensor) -> Tensor:
        """Labels, a share of which has become another class."""
        num_classes = self.query_feat.num_embeddings
        wrong = torch.rand(labels.shape, device=labels.device) < self.label_noise
        away = torch.randint(1, max(num_classes, 2), labels.shape, device=labels.device)
        return torch.where(wrong, (labels + away) % num_classes, labels)


class TargetMasks:
    """Answers as a mask predictor, but with the targets' masks.

    What the decoder asks of :class:`~mmseg_faseg.models.decoders.mask_predictor.MaskPredictor`:
    where may a query attend? Here the answer does not depend on the query.

    Args:
        masks: 1 inside, 0 outside, (B, P, H, W).
        noise: Share of wrong points, as in :class:`MaskPilot`.
    """

    logit = 100.0  # beyond every threshold, within half precision

    def __init__(self, masks: Tensor, noise: float) -> None:
        self.inside = masks
        self.noise = noise

    def masks(self, queries: Tensor) -> Tensor:
        """The targets' masks as logits, (B, P, H, W)."""
        return self._logits(self.inside)

    def guides(self, queries: Tensor, size: tuple[int, int]) -> Tensor:
        """The same at another size, (B, P, h, w), with fresh noise.

        A cell is inside if any part of it is, so that no target is lost between the points of a
        coarse level.
        """
        inside = F.adaptive_max_pool2d(self.inside, size)
        chance = self.noise * inside.mean((2, 3), keepdim=True)
        wrong = torch.rand_like(inside) < chance
        return self._logits(torch.where(wrong, 1 - inside, inside))

    def _logits(self, inside: Tensor) -> Tensor:
        return (2 * inside - 1) * self.logit


@dataclass
class PilotQueries:
    """The second group of queries of a batch, with P places for an image.

    Attributes:
        query: Content queries, (B, P, C).
        query_embed: Their learned positional embedding, (B, P, C).
        present: False where a place has no target, (B, P); it counts for nothing.
        guide: Where they attend.
        matches: Which target each has, the same in every prediction.
    """

    query: Tensor
    query_embed: Tensor
    present: Tensor
    guide: TargetMasks
    matches: Matches


def _masks_at(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (n, H, W) at another size, in floating point: 1 where any part is inside."""
    if not masks.is_floating_point():
        masks = masks.float()
    return F.adaptive_max_pool2d(masks, size)
