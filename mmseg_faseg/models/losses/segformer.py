"""Losses of Panoptic SegFormer's mask decoders, and which of its queries enter them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from mmseg.registry import MODELS, TASK_UTILS
from torch import Tensor, nn

from .matching import describe, not_finite, report
from .targets import Targets, from_panoptic

_MOST_QUERIES = 100  # of an image, in the mask decoder of things


@dataclass
class ThingMasks:
    """What the mask decoder of things makes of P queries an image.

    Attributes:
        masks: After each layer, and the final ones, (B, P, H, W).
        class_logits: After each layer, (B, P, K).
    """

    masks: list[Tensor]
    class_logits: list[Tensor]


@dataclass
class StuffMasks:
    """What the mask decoder of stuff makes of S classes.

    Attributes:
        masks: After each layer, and the final ones, (B, S, H, W).
        class_logits: Whether an image shows the class, after each layer, (B, S).
    """

    masks: list[Tensor]
    class_logits: list[Tensor]


@dataclass
class Chosen:
    """Location queries that enter the mask decoder of things in training.

    Attributes:
        queries: (B, P), of the image with most of them; 0 where another has none.
        predictions: What was predicted for those of each image, class logits ``scores`` and
            ``bboxes`` in pixels.
    """

    queries: Tensor
    predictions: list[InstanceData]


class SegFormerLosses(nn.Module):
    """Deep supervision of both mask decoders (Panoptic SegFormer, section 3.5).

    As in the released code: several queries of a thing get masks, one of them is matched to it once
    it has one, and all layers share that; thing losses weigh as much as things are among the
    segments of a batch, stuff losses the rest.

    Args:
        num_things: Number of classes of objects, whose ids come first.
        loss_mask: Config of the loss of masks.
        loss_stuff: Config of the loss of which stuff an image shows.
        loss_cls: The loss of classes of things.
        thing_class_weight: How much the latter counts.
        train_cfg: With ``mask_assigner`` and ``queries_per_thing``, how many queries of a thing get
            masks, fewer where an image has many things; None where nothing is trained.

    Attributes:
        faults: As of :class:`MaskLosses`.
    """

    def __init__(
        self,
        num_things: int,
        loss_mask: dict,
        loss_stuff: dict,
        loss_cls: nn.Module,
        thing_class_weight: float,
        train_cfg: dict | None,
    ) -> None:
        super().__init__()
        self.num_things = num_things
        self.loss_mask = MODELS.build(loss_mask)
        self.loss_stuff = MODELS.build(loss_stuff)
        self.loss_cls = loss_cls
        self.thing_class_weight = thing_class_weight
        self.faults: list[str] | None = None
        self.assigner: Any = None
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['mask_assigner'])
            self.queries_per_thing = train_cfg.get('queries_per_thing', 1)

    def finite(self, what: str, predictions: Tensor, samples: SampleList) -> Tensor:
        """Predictions (L, B, ...) as they are; what is not finite in them is a fault, and 0.

        Raises:
            FloatingPointError: Some are not finite, and ``faults`` is None.
        """
        bad = not_finite(predictions)
        if not bad.any():
            return predictions
        names = [str(sample.metainfo.get('img_path', 'an image')) for sample in samples]
        report(describe({what: bad}, names.__getitem__), self.faults)
        return predictions.nan_to_num(0, 0, 0)

    @torch.no_grad()
    def choose(self, assigner, class_logits: Tensor, boxes: Tensor, samples: SampleList) -> Chosen:
        """Chooses queries by matching things to the location decoder's last predictions.

        Matching is repeated with the queries that are left.

        Args:
            assigner: MMDetection's, of the location decoder.
            class_logits: (B, Q, K).
            boxes: (cx, cy, w, h) as shares of the image, (B, Q, 4).
            samples: Of the images, with ``gt_instances``.
        """
        queries, predictions = [], []
        for logits, own, sample in zip(class_logits, boxes, samples, strict=True):
            height, width = sample.img_shape
            scale = own.new_tensor([width, height, width, height])
            found = InstanceData(scores=logits, bboxes=bbox_cxcywh_to_xyxy(own) * scale)
            left, chosen = torch.arange(len(logits), device=logits.device), []
            for _ in range(self._rounds(len(sample.gt_instances))):
                assigned = assigner.assign(found[left], sample.gt_instances, sample.metainfo)
                chosen.append(left[assigned.gt_inds > 0])
                left = left[assigned.gt_inds == 0]
            queries.append(torch.cat(chosen))
            predictions.append(found[queries[-1]])
        return Chosen(nn.utils.rnn.pad_sequence(queries, batch_first=True), predictions)

    def _rounds(self, things: int) -> int:
        """The released code lets at most 100 queries of an image get masks; one a thing does."""
        return max(1, min(self.queries_per_thing, _MOST_QUERIES // max(things, 1)))

    def forward(
        self,
        location: dict[str, Tensor],
        chosen: Chosen,
        things: ThingMasks,
        stuff: StuffMasks,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """All losses, weighed.

        Args:
            location: Losses of the location decoder by name.
            chosen: The queries of ``things``.
            things: Predictions for things.
            stuff: Predictions for stuff.
            samples: Of the images, with ``gt_instances`` and ``gt_sem_seg``.

        Returns:
            ``location`` and, of the mask decoders, ``things.loss_mask``, ``things.loss_cls``,
            ``stuff.loss_mask`` and ``stuff.loss_cls``, of layers before the last with ``d0.`` and
            so on before ``loss``.
        """
        num_stuff = stuff.class_logits[0].shape[1]
        targets = from_panoptic(samples, self.num_things, num_stuff)
        of_things = self._of_things(chosen, things, targets, samples)
        of_stuff = self._of_stuff(stuff, targets)
        count = int((targets.labels < self.num_things).sum())
        number = _mean_count(count, things.masks[-1])
        share = number / (number + _mean_count(len(targets.labels) - count, number))
        weighed = {name: loss * share for name, loss in {**location, **of_things}.items()}
        return weighed | {name: loss * (1 - share) for name, loss in of_stuff.items()}

    def _of_things(
        self, chosen: Chosen, things: ThingMasks, targets: Targets, samples: SampleList
    ) -> dict[str, Tensor]:
        final = self.finite('masks of things', things.masks[-1][None], samples)[0]
        labels, masks, own, matched = [], [], [], []
        for image, (own_labels, own_masks) in enumerate(targets.by_image()):
            instances = samples[image].gt_instances
            thing_masks = _resized(own_masks[: len(instances)], _doubled(final))  # they come first
            wanted = InstanceData(
                labels=instances.labels, bboxes=instances.bboxes, masks=thing_masks
            )
            found = chosen.predictions[image].clone()
            found.masks = _upsampled(final[image, : len(found)])
            thing = self._match(found, wanted, targets.img_metas[image])
            first = image * final.shape[1]
            own.append(torch.arange(first, first + len(found), device=final.device))
            matched.append(own[-1][thing >= 0])
            masks.append(thing_masks[thing[thing >= 0]])
            label = torch.full_like(thing, self.num_things)  # no thing
            label[thing >= 0] = own_labels[thing[thing >= 0]]
            labels.append(label)
        chosen_masks, own_queries, own_labels = (torch.cat(x) for x in (matched, own, labels))
        losses = self._mask_losses('things', things.masks, chosen_masks, torch.cat(masks))
        number = _mean_count(len(chosen_masks), final)
        for layer, logits in enumerate(things.class_logits):
            loss = self.loss_cls(logits.flatten(0, 1)[own_queries], own_labels, avg_factor=number)
            name = _name('things', 'loss_cls', layer, len(things.class_logits))
            losses[name] = loss * self.thing_class_weight
        return losses

    @torch.no_grad()
    def _match(self, found: InstanceData, wanted: InstanceData, img_meta: dict) -> Tensor:
        """Which thing each query of an image has, now that it has a mask, or -1, (P,)."""
        if len(found) == 0:
            return wanted.labels[:0]
        return self.assigner.assign(found, wanted, img_meta).gt_inds - 1

    def _of_stuff(self, stuff: StuffMasks, targets: Targets) -> dict[str, Tensor]:
        size, num_stuff = _doubled(stuff.masks[-1]), stuff.masks[-1].shape[1]
        shown = torch.zeros_like(stuff.class_logits[-1])
        chosen, masks = [], []
        for image, (labels, own_masks) in enumerate(targets.by_image()):
            is_stuff = labels >= self.num_things
            classes = labels[is_stuff] - self.num_things
            shown[image, classes] = 1
            chosen.append(image * num_stuff + classes)
            masks.append(_resized(own_masks[is_stuff], size))
        losses = self._mask_losses('stuff', stuff.masks, torch.cat(chosen), torch.cat(masks))
        number = _mean_count(int(shown.sum()), shown)
        for layer, logits in enumerate(stuff.class_logits):
            # Class 0 of one is shown; what is not shown is 'no object', 1.
            loss = self.loss_stuff(
                logits.flatten()[:, None], 1 - shown.flatten().long(), avg_factor=number
            )
            losses[_name('stuff', 'loss_cls', layer, len(stuff.class_logits))] = loss
        return losses

    def _mask_losses(
        self, kind: str, masks: Sequence[Tensor], chosen: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """Of chosen masks (N,) of all images, after each layer and the final ones."""
        number, losses = _mean_count(len(chosen), targets), {}
        for layer, own in enumerate(masks):
            name = _name(kind, 'loss_mask', layer, len(masks))
            found = own.flatten(0, 1)[chosen]
            if len(chosen):
                losses[name] = self.loss_mask(_upsampled(found), targets, avg_factor=number)
            else:
                losses[name] = own.sum() * 0  # with a gradient for every parameter
        return losses


def _upsampled(masks: Tensor) -> Tensor:
    """Masks (n, H, W) at twice the size."""
    return F.interpolate(masks[:, None], scale_factor=2, mode='bilinear', align_corners=False)[:, 0]


def _doubled(masks: Tensor) -> tuple[int, int]:
    return 2 * masks.shape[-2], 2 * masks.shape[-1]


def _resized(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Target masks (n, H, W) at a size, in floating point."""
    if not len(masks):
        return masks.new_zeros((0, *size), dtype=torch.float32)
    return F.interpolate(masks[:, None].float(), size, mode='bilinear', align_corners=False)[:, 0]


def _mean_count(count: int, like: Tensor) -> Tensor:
    """Mean over processes, at least 1."""
    return reduce_mean(like.new_tensor(float(count), dtype=torch.float32)).clamp(min=1)


def _name(kind: str, loss: str, layer: int, layers: int) -> str:
    return f'{kind}.{loss}' if layer == layers - 1 else f'{kind}.d{layer}.{loss}'
