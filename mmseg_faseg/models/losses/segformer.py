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

from .targets import Targets, from_panoptic


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
class Matched:
    """Location queries that things were matched to.

    Attributes:
        queries: (B, P), of the image with most of them; 0 where another has none.
        targets: Which thing each has, (n,) of each image.
        things: Those things, with ``labels`` and ``bboxes``, of each image.
        predictions: What was predicted for them, class logits ``scores`` and ``bboxes``.
    """

    queries: Tensor
    targets: list[Tensor]
    things: list[InstanceData]
    predictions: list[InstanceData]


class SegFormerLosses(nn.Module):
    """Deep supervision of both mask decoders (Panoptic SegFormer, section 3.5).

    As in the released code: the matched queries are matched once more when they have masks, and
    all layers share that; thing losses weigh as much as things are among the segments of a batch.

    Args:
        num_things: Number of classes of objects, whose ids come first.
        loss_mask: Config of the loss of masks.
        loss_stuff: Config of the loss of which stuff an image shows.
        loss_cls: The loss of classes of things.
        thing_class_weight: How much the latter counts.
        train_cfg: With ``mask_assigner``; None where nothing is trained.
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
        self.assigner: Any = None
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['mask_assigner'])

    @torch.no_grad()
    def match(self, assigner, class_logits: Tensor, boxes: Tensor, samples: SampleList) -> Matched:
        """Matches things to the location decoder's last predictions.

        Args:
            assigner: MMDetection's, of the location decoder.
            class_logits: (B, Q, K).
            boxes: (cx, cy, w, h) as shares of the image, (B, Q, 4).
            samples: Of the images, with ``gt_instances``.
        """
        queries, targets, things, predictions = [], [], [], []
        for logits, own, sample in zip(class_logits, boxes, samples, strict=True):
            height, width = sample.img_shape
            scale = own.new_tensor([width, height, width, height])
            found = InstanceData(scores=logits, bboxes=bbox_cxcywh_to_xyxy(own) * scale)
            assigned = assigner.assign(found, sample.gt_instances, sample.metainfo).gt_inds
            chosen = (assigned > 0).nonzero()[:, 0]
            target = assigned[chosen] - 1
            given = sample.gt_instances
            queries.append(chosen)
            targets.append(target)
            things.append(InstanceData(labels=given.labels[target], bboxes=given.bboxes[target]))
            predictions.append(found[chosen])
        padded = nn.utils.rnn.pad_sequence(queries, batch_first=True)
        return Matched(padded, targets, things, predictions)

    def forward(
        self,
        location: dict[str, Tensor],
        matched: Matched,
        things: ThingMasks,
        stuff: StuffMasks,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """All losses, weighed.

        Args:
            location: Losses of the location decoder by name.
            matched: The queries of ``things``.
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
        of_things = self._of_things(matched, things, targets)
        of_stuff = self._of_stuff(stuff, targets)
        is_thing = targets.labels < self.num_things
        share = is_thing.float().mean() if len(is_thing) else is_thing.new_ones(()).float()
        weighed = {name: loss * share for name, loss in {**location, **of_things}.items()}
        return weighed | {name: loss * (1 - share) for name, loss in of_stuff.items()}

    def _of_things(
        self, matched: Matched, things: ThingMasks, targets: Targets
    ) -> dict[str, Tensor]:
        final = things.masks[-1]
        labels, masks, places = [], [], []
        for image, (own_labels, own_masks) in enumerate(targets.by_image()):
            count = int((own_labels < self.num_things).sum())  # they come first
            resized = _resized(own_masks[:count], _doubled(final))
            meta = targets.img_metas[image]
            order = self._match_again(image, matched, final[image], resized, meta)
            labels.append(own_labels[order])
            masks.append(resized[order])
            places.append(image * final.shape[1] + torch.arange(len(order), device=final.device))
        chosen = torch.cat(places)
        losses = self._mask_losses('things', things.masks, chosen, torch.cat(masks))
        number = _mean_count(len(chosen), final)
        for layer, logits in enumerate(things.class_logits):
            own = logits.flatten(0, 1)[chosen]
            loss = self.loss_cls(own, torch.cat(labels), avg_factor=number)
            name = _name('things', 'loss_cls', layer, len(things.class_logits))
            losses[name] = loss * self.thing_class_weight
        return losses

    @torch.no_grad()
    def _match_again(
        self, image: int, matched: Matched, final: Tensor, masks: Tensor, img_meta: dict
    ) -> Tensor:
        """Which thing each matched query of an image has, now that it has a mask, (n,)."""
        first = matched.targets[image]
        if len(first) == 0:
            return first
        found, wanted = matched.predictions[image].clone(), matched.things[image].clone()
        found.masks = _upsampled(final[: len(first)])
        wanted.masks = masks[first]
        return first[self.assigner.assign(found, wanted, img_meta).gt_inds - 1]

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
