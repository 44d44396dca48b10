"""Panoptic SegFormer: Deformable DETR with mask decoders, and merging by masks."""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models import DeformableDETR
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import PixelData
from torch import Tensor

from ...registry import register
from ..merging.instances import instances_of
from ..merging.panoptic import Candidates, merging
from ..merging.rows import MaskRows, padded_rows
from ..ops.finite import refuse_nonfinite
from .segformer_head import Memory, Segments


@register
class PanopticSegFormer(DeformableDETR):
    """`Panoptic SegFormer <https://arxiv.org/abs/2109.03814>`_ (CVPR 2022).

    MMDetection's ``DeformableDETR`` with box refinement, whose head makes masks as well.

    Args:
        test_cfg (dict, optional): What is predicted, and how segments come about: as of
            :class:`FASegDetector`, with ``merging='mask-wise'`` unless told otherwise.
        **kwargs: As in MMDetection's ``DeformableDETR``; ``bbox_head`` is a
            ``PanopticSegFormerHead``.

    Raises:
        ValueError: ``test_cfg`` says something about merging that does not fit.
        UserError: When weights are loaded: some are not finite.
    """

    def __init__(self, *args: Any, test_cfg: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, test_cfg=test_cfg, with_box_refine=True, **kwargs)
        self._merge()
        self.register_load_state_dict_post_hook(refuse_nonfinite)

    def _merge(self) -> Callable[[MaskRows, Candidates], Tensor]:
        settings = {'merging': 'mask-wise', **(self.test_cfg or {})}
        head = self.bbox_head
        return merging(settings, head.num_things_classes, head.num_stuff_classes)

    def pre_decoder(
        self, memory: Tensor, memory_mask: Tensor, spatial_shapes: Tensor
    ) -> tuple[dict, dict]:
        """As of ``DeformableDETR``; the head gets the encoder's tokens too."""
        for_decoder, for_head = super().pre_decoder(memory, memory_mask, spatial_shapes)
        sizes = [(int(height), int(width)) for height, width in spatial_shapes]
        return for_decoder, {**for_head, 'memory': Memory(memory, sizes)}

    @torch.no_grad()
    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Predicts segments.

        Args:
            batch_inputs: Images (B, 3, H, W).
            batch_data_samples: Their samples.
            rescale: Whether at the original size, or else at that of the input without padding.

        Returns:
            The samples with ``pred_panoptic_seg`` and, with ``instance_on``, ``pred_instances``.
        """
        features = self.extract_feat(batch_inputs)
        inputs = self.forward_transformer(features, batch_data_samples)
        segments = self.bbox_head.predict_segments(**inputs)
        size = (batch_inputs.shape[-2], batch_inputs.shape[-1])
        with torch.autocast(batch_inputs.device.type, enabled=False):
            for image, sample in enumerate(batch_data_samples):
                self._add_predictions(sample, segments, image, size, rescale)
        return batch_data_samples

    def _add_predictions(
        self,
        sample: DetDataSample,
        segments: Segments,
        image: int,
        size: tuple[int, int],
        rescale: bool,
    ) -> None:
        head, test_cfg = self.bbox_head, self.test_cfg or {}
        labels, scores = segments.labels[image], segments.scores[image]
        rows = _rows(segments.masks[image], size, sample.metainfo, rescale)
        if test_cfg.get('panoptic_on', True):
            counts = head.num_things_classes, head.num_things_classes + head.num_stuff_classes
            candidates = Candidates(labels, scores, *counts, activation=_as_it_is)
            sample.pred_panoptic_seg = PixelData(sem_seg=self._merge()(rows, candidates))
        if test_cfg.get('instance_on', False):
            things = torch.arange(segments.boxes.shape[1], device=labels.device)
            chosen = things, labels[things], scores[things]
            found = instances_of(rows, *chosen, 0.5, _as_it_is, _squared_mean)
            height, width = rows.ori_shape
            scale = segments.boxes.new_tensor([width, height, width, height])
            found.bboxes = bbox_cxcywh_to_xyxy(segments.boxes[image]).clamp(0, 1) * scale
            sample.pred_instances = found


def _rows(masks: Tensor, size: tuple[int, int], img_meta: dict, rescale: bool) -> MaskRows:
    """Masks (Q, h, w) of an input (H, W), resized in one step as the released code resizes them.

    Of an image with padding they are cut at the size of the input first, as MMDetection does.
    """
    if tuple(img_meta['img_shape'][:2]) == size:
        size = (masks.shape[-2], masks.shape[-1])
        whole = dict(ori_shape=img_meta['ori_shape' if rescale else 'img_shape'], img_shape=size)
        return padded_rows(masks, size, whole, rescale=True)
    return padded_rows(masks, size, img_meta, rescale)


def _as_it_is(masks: Tensor) -> Tensor:
    """Masks that have passed a ReLU are not logits."""
    return masks


def _squared_mean(totals: Tensor, areas: Tensor) -> Tensor:
    """How certain the released code is of an object, as in mask-wise merging."""
    return (totals / (areas + 1)) ** 2
