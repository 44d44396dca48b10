"""The decode head of FASeg: MMSegmentation's contract over the mask head."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.utils import SampleList
from torch import Tensor

from ...registry import register
from ..losses import from_label_maps
from ..mask2former_contract import Mask2FormerContract
from ..mask_head import MaskHead
from ..merging.semantic import class_scores


@register
class FASegHead(Mask2FormerContract, Mask2FormerHead):
    """Mask2Former's head with dynamic positional queries and high-resolution cross-attention.

    Keeps the contract of MMSegmentation's ``Mask2FormerHead``: methods, config keys, attribute and
    parameter names, losses. What it computes, and the arguments that are not named here, are those
    of :class:`mmseg_faseg.models.mask_head.MaskHead`.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's maps, finest first.
        num_classes (int): Number of classes K, at least 2; the one place where it is set. A class
            map says for every pixel which class it is, so one class alone says nothing: what is not
            a car is 'background'.
        align_corners (bool): For MMSegmentation's ``EncoderDecoder``, when it resizes scores.
        ignore_index (int): Label id without a class.
        test_cfg (dict, optional): Not used by the head itself.
        **kwargs: As in :class:`mmseg_faseg.models.mask_head.MaskHead`.

    Raises:
        ValueError: ``num_classes`` is 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        align_corners: bool = False,
        ignore_index: int = 255,
        test_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if num_classes == 1:
            raise ValueError(
                'num_classes is 1, semantic segmentation needs two: name what is not '
                "the class, as in classes=('background', 'car') with label ids 0 and 1"
            )
        MaskHead.__init__(self, in_channels, num_classes, **kwargs)
        self.out_channels = num_classes  # what EncoderDecoder means by it
        self.align_corners = align_corners
        self.ignore_index = ignore_index
        self.test_cfg = test_cfg

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict | None
    ) -> dict[str, Tensor]:
        """Computes the losses of every prediction.

        The same as ``loss_by_feat`` of what ``forward`` returns, but no mask is made with a
        gradient that no target was matched to.

        Args:
            x: The backbone's maps, finest first.
            batch_data_samples: Samples with ``gt_sem_seg``.
            train_cfg: Not used; part of MMSegmentation's contract.

        Returns:
            Losses by name, as MMDetection's head names them, and those of a mask pilot.
        """
        targets = from_label_maps(batch_data_samples, self.ignore_index)
        return self.train_losses(x, targets)

    def predict_masks(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Makes the last prediction only.

        Args:
            x: The backbone's maps, finest first.

        Returns:
            Class probabilities without 'no object', (B, Q, K), and mask logits
            (B, Q, H / 4, W / 4), both at least in float32.
        """
        class_logits, mask_logits = self.predict_last(x)
        return class_logits.softmax(-1)[..., :-1], mask_logits

    def predict(
        self, x: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict | None
    ) -> Tensor:
        """Predicts class scores.

        Args:
            x: The backbone's maps, finest first.
            batch_img_metas: Meta information of the images; gives the size.
            test_cfg: The segmentor's test config.

        Returns:
            Sum over queries of class probability times mask probability, (B, K, H, W), at the
            size of the network's input.
        """
        class_probs, mask_logits = self.predict_masks(x)
        size = input_size(batch_img_metas[0], test_cfg)
        with torch.autocast(mask_logits.device.type, enabled=False):
            return class_scores(class_probs, mask_logits, size)


def input_size(img_meta: dict, test_cfg: dict | None) -> tuple[int, int]:
    """Size (H, W) of what the network was given, to which masks are resized.

    In slide mode ``img_shape`` is that of the window, while ``pad_shape`` is that of the image.
    """
    sliding = (test_cfg or {}).get('mode') == 'slide'
    if 'pad_shape' in img_meta and not sliding:
        return tuple(img_meta['pad_shape'][:2])
    return tuple(img_meta['img_shape'][:2])
