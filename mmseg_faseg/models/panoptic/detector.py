"""A detector that turns masks into objects and panoptic segments in bounded memory."""

import torch
from mmdet.models import Mask2Former
from mmdet.structures import DetDataSample, SampleList
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from torch import Tensor

from ...registry import register
from ..mask2former_init import load_mask2former
from ..merging.instances import predict_instances
from ..merging.panoptic import Candidates, merging
from ..merging.rows import MaskRows, padded_rows
from ..ops.finite import refuse_nonfinite


@register
class FASegDetector(Mask2Former):
    """MMDetection's ``Mask2Former`` that never holds all masks at full size in floating point.

    MMDetection's detector holds every mask at the size of the input and once more at that of the
    original image: 1.7 GB for 100 queries at 1024 x 2048. Here some rows of them live at a time.
    Unless told otherwise, results are those of its ``MaskFormerFusionHead``.

    Args:
        backbone (dict): Config of the backbone.
        panoptic_head (dict): Config of the head, ``FASegPanopticHead``.
        neck (dict, optional): Config of a neck.
        panoptic_fusion_head (dict, optional): Not used; part of MMDetection's contract.
        train_cfg (dict, optional): The head's.
        test_cfg (dict, optional): What is predicted: ``panoptic_on`` (True), and ``instance_on``
            (False) with ``max_per_image`` (100). How segments come about: ``merging`` and its
            settings, see :func:`mmseg_faseg.models.merging.panoptic.merging`.
        data_preprocessor (dict, optional): Config of ``DetDataPreprocessor``.
        mask2former (str, optional): Checkpoint of MMDetection's or MMSegmentation's Mask2Former to
            start from, loaded in ``init_weights`` after everything else; see
            :func:`mmseg_faseg.models.mask2former_init.load_mask2former`.
        init_cfg (dict, optional): MMEngine's initialisation.

    Raises:
        TypeError: ``panoptic_head`` makes no masks.
        ValueError: ``test_cfg`` says something about merging that does not fit.
        UserError: When weights are loaded: some are not finite.
    """

    def __init__(
        self,
        backbone: dict,
        panoptic_head: dict,
        neck: dict | None = None,
        panoptic_fusion_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        mask2former: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        head = ConfigDict(panoptic_head)
        # MMDetection's has to be there and does nothing.
        counts = {name: head.get(name) for name in ('num_things_classes', 'num_stuff_classes')}
        fusion_head = ConfigDict(type='mmdet.MaskFormerFusionHead', **counts)
        super().__init__(
            backbone, neck, head, fusion_head, train_cfg, test_cfg, data_preprocessor, init_cfg
        )
        if not hasattr(self.panoptic_head, 'predict_last'):
            raise TypeError(
                'FASegDetector needs a panoptic_head with predict_last, such as FASegPanopticHead; '
                f'got {type(self.panoptic_head).__name__}, which Mask2Former can run'
            )
        merging(test_cfg or {}, self.num_things_classes, self.num_stuff_classes)
        self.mask2former = mask2former
        self.register_load_state_dict_post_hook(refuse_nonfinite)

    def init_weights(self) -> None:
        """Initialises all parts, then takes over ``mask2former`` if it is given."""
        if self.mask2former is not None:
            self.backbone.init_cfg = None  # about to be overwritten: no need to fetch it
        super().init_weights()
        if self.mask2former is not None:
            load_mask2former(self, self.mask2former)

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
            The samples with ``pred_panoptic_seg`` and ``pred_instances``, as MMDetection's.
        """
        class_logits, mask_logits = self.panoptic_head.predict_last(self.extract_feat(batch_inputs))
        size = (batch_inputs.shape[-2], batch_inputs.shape[-1])
        with torch.autocast(batch_inputs.device.type, enabled=False):
            for logits, masks, sample in zip(
                class_logits, mask_logits, batch_data_samples, strict=True
            ):
                rows = padded_rows(masks, size, sample.metainfo, rescale)
                self._add_predictions(sample, logits, rows)
        return batch_data_samples

    def _add_predictions(self, sample: DetDataSample, class_logits: Tensor, rows: MaskRows) -> None:
        test_cfg, num_things = self.test_cfg or {}, self.num_things_classes
        if test_cfg.get('panoptic_on', True):
            merge = merging(test_cfg, num_things, self.num_stuff_classes)
            segments = merge(rows, Candidates.of(class_logits, num_things))
            sample.pred_panoptic_seg = PixelData(sem_seg=segments)
        if test_cfg.get('instance_on', False):
            probs = class_logits.softmax(-1)[:, :-1]
            count = test_cfg.get('max_per_image', 100)
            sample.pred_instances = predict_instances(rows, probs, num_things, count)
