"""The head of Panoptic SegFormer: boxes of things, then masks of things and of stuff."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models import DeformableDETRHead
from mmdet.structures import SampleList
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from ...registry import register
from ..losses.segformer import SegFormerLosses, StuffMasks, ThingMasks
from .mask_decoder import MaskDecoder


@dataclass
class Memory:
    """What the mask decoders attend to.

    Attributes:
        tokens: Of the encoder, level by level, the largest first, (B, N, C).
        sizes: (H, W) of each level.
    """

    tokens: Tensor
    sizes: list[tuple[int, int]]

    def first(self, count: int) -> 'Memory':
        """The largest levels alone."""
        sizes = self.sizes[:count]
        return Memory(self.tokens[:, : sum(h * w for h, w in sizes)], sizes)


@dataclass
class Segments:
    """Predictions of B images before merging: masks of P things and of all classes of stuff.

    Attributes:
        labels: (B, P + S).
        scores: (B, P + S).
        masks: At least 0, more than 0.5 inside, (B, P + S, H, W).
        boxes: Of the things, (cx, cy, w, h) as shares of the image, (B, P, 4).
    """

    labels: Tensor
    scores: Tensor
    masks: Tensor
    boxes: Tensor


@register
class PanopticSegFormerHead(DeformableDETRHead):
    """`Panoptic SegFormer <https://arxiv.org/abs/2109.03814>`_ (CVPR 2022), all but the encoder.

    The location decoder's queries have boxes and classes, as those of Deformable DETR. In training
    those of them that things were matched to go on to the mask decoder of things, in testing the
    best pairs of query and class. Each class of stuff has a query of its own, which goes straight
    to the mask decoder of stuff.

    Args:
        num_things_classes (int): Number of classes of objects, whose ids come first.
        num_stuff_classes (int): Number of the others.
        things_decoder (dict): Arguments of the :class:`MaskDecoder` of things.
        stuff_decoder (dict): Of that of stuff.
        loss_mask (dict): Config of the loss of masks.
        loss_stuff (dict): Config of the loss of which stuff an image shows.
        thing_class_weight (float): Weight of the class loss of the mask decoder's layers of things.
            0, as in the released code, leaves their classes untrained; 1 is the paper's.
        train_cfg (dict, optional): ``assigner``, of the location decoder; ``queries_per_thing``:
            how many of its queries each thing is matched to so that they get masks, 1; and
            ``mask_assigner``, which chooses among them by their masks too.
        test_cfg (dict, optional): ``max_per_img``: how many things, 100.
        **kwargs: As in MMDetection's ``DeformableDETRHead``.

    Raises:
        ValueError: There are no things, or no stuff.
    """

    def __init__(
        self,
        num_things_classes: int,
        num_stuff_classes: int,
        *,
        things_decoder: dict,
        stuff_decoder: dict,
        loss_mask: dict,
        loss_stuff: dict,
        thing_class_weight: float = 0.0,
        train_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        counts = dict(num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes)
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f'{name} must be at least 1, got {count}')
        super().__init__(num_things_classes, train_cfg=train_cfg, **kwargs)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        width = self.embed_dims
        self.things_decoder = MaskDecoder(embed_dims=width, **things_decoder)
        self.stuff_decoder = MaskDecoder(embed_dims=width, self_attention=True, **stuff_decoder)
        # Content and position of each class's query.
        self.stuff_embedding = nn.Embedding(num_stuff_classes, 2 * width)
        self.things_cls_branches = nn.ModuleList(
            nn.Linear(width, num_things_classes) for _ in self.things_decoder.layers
        )
        self.stuff_cls_branches = nn.ModuleList(
            nn.Linear(width, 1) for _ in self.stuff_decoder.layers
        )
        self.mask_losses = SegFormerLosses(
            num_things_classes, loss_mask, loss_stuff, self.loss_cls, thing_class_weight, train_cfg
        )

    def init_weights(self) -> None:
        """Initialises the classes so that everything is improbable."""
        super().init_weights()
        for decoder in (self.things_decoder, self.stuff_decoder):
            decoder.init_weights()
        for branch in (*self.things_cls_branches, *self.stuff_cls_branches):
            nn.init.constant_(branch.bias, bias_init_with_prob(0.01))

    def loss(
        self,
        hidden_states: Tensor,
        references: Sequence[Tensor],
        memory: Memory,
        batch_data_samples: SampleList,
        **_,
    ) -> dict[str, Tensor]:
        """Losses of boxes, masks and classes.

        Args:
            hidden_states: Location queries after each layer, (L, B, Q, C).
            references: Boxes that each layer starts from, and the last ones.
            memory: The encoder's tokens.
            batch_data_samples: Samples with ``gt_instances`` and ``gt_sem_seg``.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_iou`` of the location decoder, of layers before
            the last with ``d0.`` and so on before the name; ``things.loss_mask``,
            ``things.loss_cls``, ``stuff.loss_mask`` and ``stuff.loss_cls`` of the mask decoders.

        Raises:
            FloatingPointError: Predictions are not finite, and nobody collects such faults.
        """
        classes, boxes = self(hidden_states, references)
        classes = self.mask_losses.finite('class logits', classes, batch_data_samples)
        boxes = self.mask_losses.finite('boxes', boxes, batch_data_samples)
        instances = [sample.gt_instances for sample in batch_data_samples]
        metas = [sample.metainfo for sample in batch_data_samples]
        losses = self.loss_by_feat(classes, boxes, None, None, instances, metas)
        chosen = self.mask_losses.choose(self.assigner, classes[-1], boxes[-1], batch_data_samples)
        things = self._things(hidden_states[-1], chosen.queries, memory)
        stuff = self._stuff(memory)
        return self.mask_losses(losses, chosen, things, stuff, batch_data_samples)

    def predict_segments(
        self, hidden_states: Tensor, references: Sequence[Tensor], memory: Memory
    ) -> Segments:
        """Predicts masks with their classes; arguments as of :meth:`loss`."""
        classes, boxes = self(hidden_states, references)
        probs = classes[-1].sigmoid()
        count = min((self.test_cfg or {}).get('max_per_img', 100), probs[0].numel())
        scores, pairs = probs.flatten(1).topk(count)
        queries = pairs.div(self.num_things_classes, rounding_mode='floor')
        things = self._things(hidden_states[-1], queries, memory, all_masks=False)
        stuff = self._stuff(memory, all_masks=False)
        batch, device = len(probs), probs.device
        stuff_labels = torch.arange(self.num_stuff_classes, device=device)
        stuff_labels = (self.num_things_classes + stuff_labels).expand(batch, -1)
        return Segments(
            torch.cat([pairs % self.num_things_classes, stuff_labels], 1),
            torch.cat([scores, stuff.class_logits[-1].sigmoid()], 1),
            torch.cat([things.masks[-1], stuff.masks[-1]], 1),
            boxes[-1].gather(1, queries[..., None].expand(-1, -1, 4)),
        )

    def _things(
        self, hidden_states: Tensor, queries: Tensor, memory: Memory, all_masks: bool = True
    ) -> ThingMasks:
        """Of chosen location queries (B, P)."""
        memory = memory.first(self.things_decoder.num_levels)
        query = hidden_states.gather(1, queries[..., None].expand(-1, -1, self.embed_dims))
        found, masks = self.things_decoder(query, memory.tokens, memory.sizes, None, all_masks)
        branches = zip(self.things_cls_branches, found, strict=True)
        return ThingMasks(masks, [branch(query) for branch, query in branches])

    def _stuff(self, memory: Memory, all_masks: bool = True) -> StuffMasks:
        memory = memory.first(self.stuff_decoder.num_levels)
        embedding = self.stuff_embedding.weight.expand(len(memory.tokens), -1, -1)
        query, query_pos = embedding.chunk(2, -1)
        found, masks = self.stuff_decoder(query, memory.tokens, memory.sizes, query_pos, all_masks)
        branches = zip(self.stuff_cls_branches, found, strict=True)
        return StuffMasks(masks, [branch(query)[..., 0] for branch, query in branches])
