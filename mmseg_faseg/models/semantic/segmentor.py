"""A segmentor that turns masks into class maps in bounded memory."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor

from ...registry import register
from ..mask2former_init import load_mask2former
from ..merging.rows import Box, MaskRows, Window
from ..merging.semantic import MaskScores, mask_wise, predict_classes
from ..ops.cuda_graphs import CudaGraphs
from ..ops.finite import refuse_nonfinite
from ..ops.tracing import refuse_other_sizes


@register
class FASegSegmentor(EncoderDecoder):
    """MMSegmentation's ``EncoderDecoder`` whose class maps never need all class scores at once.

    ``EncoderDecoder`` holds the scores of every class at full size twice: 2.3 GiB for 150 classes
    at 1024 x 2048. Here a few rows of them live at a time; the class map is the same.

    Args:
        keep_scores (bool): Whether predictions keep their class scores, as ``seg_logits``
            (K, H, W), beside the class map.
        mask2former (str, optional): Checkpoint of MMSegmentation's Mask2Former to start from,
            loaded in ``init_weights`` after everything else; see
            :func:`mmseg_faseg.checkpoints.convert.load_mask2former`.
        test_cfg (dict, optional): As of ``EncoderDecoder``, and ``merging``: ``'argmax'``, the
            default, where the scores of all masks are added up, or ``'mask-wise'`` with its
            thresholds, where masks are laid down whole; see
            :func:`mmseg_faseg.models.merging.semantic.mask_wise`.
        cuda_graphs (bool): Whether ``predict`` runs the network, from images to class probabilities
            and mask logits, as CUDA graphs; see :class:`CudaGraphs` in ``cuda_graphs.py``. Without
            a GPU it has no effect.
        **kwargs: As in :class:`mmseg.models.EncoderDecoder`.

    Raises:
        TypeError: ``decode_head`` makes no masks.
        ValueError: ``test_cfg`` has another mode than 'whole' and 'slide', or its windows are not
            two numbers or leave out part of the image; or ``merging`` does not fit it.
        UserError: When weights are loaded: some are not finite, which would make every prediction
            class 0.
    """

    def __init__(
        self,
        *args,
        keep_scores: bool = False,
        mask2former: str | None = None,
        cuda_graphs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(self.decode_head, 'predict_masks'):
            raise TypeError(
                'FASegSegmentor needs a decode_head with predict_masks, such as FASegHead; '
                f'got {type(self.decode_head).__name__}, which EncoderDecoder can run'
            )
        check_windows(self.test_cfg)
        self.mask_wise()
        self.keep_scores = keep_scores
        self.mask2former = mask2former
        self.graphs = CudaGraphs() if cuda_graphs else None
        self.register_load_state_dict_post_hook(refuse_nonfinite)

    def init_weights(self) -> None:
        """Initialises all parts, then takes over ``mask2former`` if it is given."""
        if self.mask2former is not None:
            self.backbone.init_cfg = None  # about to be overwritten: no need to fetch it
        super().init_weights()
        if self.mask2former is not None:
            load_mask2former(self, self.mask2former)

    def train(self, mode: bool = True) -> 'FASegSegmentor':
        """Sets the mode; training needs the memory of CUDA graphs."""
        if mode and self.graphs is not None:
            self.graphs.clear()
        return super().train(mode)

    def _apply(self, *args, **kwargs) -> 'FASegSegmentor':
        """Moves or casts the weights; CUDA graphs would keep the old ones."""
        if self.graphs is not None:
            self.graphs.clear()
        return super()._apply(*args, **kwargs)

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W); a trace of it refuses images of another size."""
        return super().extract_feat(*refuse_other_sizes([inputs]))

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Predicts class maps.

        Args:
            inputs: Images (B, 3, H, W).
            data_samples: Their samples; without, the images count as unpadded originals.

        Returns:
            The samples with ``pred_sem_seg`` (1, H, W), int64, at the original size, and with
            ``seg_logits`` (K, H, W) if ``keep_scores``.
        """
        size = (int(inputs.shape[-2]), int(inputs.shape[-1]))  # in a trace they are tensors
        if data_samples is None:
            data_samples = [
                SegDataSample(metainfo=dict(ori_shape=size, img_shape=size)) for _ in inputs
            ]
        by_mask = self.mask_wise()
        predictions = self._predict_windows(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            for i, sample in enumerate(data_samples):
                scores = _scores(i, *predictions, size, sample.metainfo)
                classes, kept = predict_classes(scores, self.keep_scores)
                if by_mask is not None:
                    classes = by_mask(scores.masks, scores.class_probs[0], classes)
                sample.pred_sem_seg = PixelData(data=classes)
                if kept is not None:
                    sample.seg_logits = PixelData(data=kept)
        return data_samples

    @torch.no_grad()
    def predict_scores(self, inputs: Tensor, data_samples: SampleList) -> list[MaskScores]:
        """Predicts class scores, without making any before they are asked for.

        Args:
            inputs: Images (B, 3, H, W).
            data_samples: Their samples.

        Returns:
            Of each image its scores at the original size.
        """
        size = (inputs.shape[-2], inputs.shape[-1])
        predictions = self._predict_windows(inputs)
        return [
            _scores(i, *predictions, size, sample.metainfo) for i, sample in enumerate(data_samples)
        ]

    def mask_wise(self) -> Callable | None:
        """What lays masks down whole, if ``test_cfg`` asks for that.

        Raises:
            ValueError: As of the class.
        """
        test_cfg = self.test_cfg or {}
        found = mask_wise(test_cfg, self.decode_head.num_classes)
        if found is not None and test_cfg.get('mode', 'whole') != 'whole':
            raise ValueError(
                "test_cfg.merging='mask-wise' needs mode='whole', got "
                f'{test_cfg["mode"]!r}: masks of several windows have nothing to do with each other'
            )
        return found

    def _predict_windows(self, inputs: Tensor) -> tuple[list[Box], list[tuple[Tensor, Tensor]]]:
        """Runs the network on every window: where it lies, class probabilities and mask logits."""
        height, width = inputs.shape[-2:]
        check_windows(self.test_cfg)  # again: it may have been changed since
        if (self.test_cfg or {}).get('mode', 'whole') == 'whole':
            boxes = [(0, 0, height, width)]
        else:
            boxes = _grid(height, width, self.test_cfg['crop_size'], self.test_cfg['stride'])
        predictions = []
        for top, left, h, w in boxes:
            window = inputs[..., top : top + h, left : left + w]
            if self.graphs is None:
                class_probs, mask_logits = self._network(window)
            else:
                class_probs, mask_logits = self.graphs(self, self._network, window)
            predictions.append((class_probs, mask_logits))
        return boxes, predictions

    def _network(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities (B, Q, K) and mask logits (B, Q, H / 4, W / 4) of images."""
        return self.decode_head.predict_masks(self.extract_feat(images))


def check_windows(test_cfg: dict | None) -> None:
    """Checks how a segmentor's ``test_cfg`` cuts images into windows.

    Raises:
        ValueError: The mode is neither 'whole' nor 'slide'; in slide mode, ``crop_size`` or
            ``stride`` is missing or not two positive integers, or the stride is larger than the
            window, which leaves pixels out.
    """
    test_cfg = test_cfg or {}
    mode = test_cfg.get('mode', 'whole')
    if mode not in ('whole', 'slide'):
        raise ValueError(f"test_cfg.mode must be 'whole' or 'slide', got {mode!r}")
    if mode == 'whole':
        return
    for name in ('crop_size', 'stride'):
        if not _is_pair(test_cfg.get(name)):
            raise ValueError(
                f'test_cfg.{name} must be two positive integers (height, width) where mode is '
                f"'slide', got {test_cfg.get(name)!r}"
            )
    if any(
        step > side for side, step in zip(test_cfg['crop_size'], test_cfg['stride'], strict=True)
    ):
        raise ValueError(
            f'test_cfg.stride {tuple(test_cfg["stride"])} is larger than test_cfg.crop_size '
            f'{tuple(test_cfg["crop_size"])}: the pixels between two windows would be in none; '
            'two thirds of the window are usual'
        )


def _is_pair(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    return all(isinstance(side, int) and side > 0 for side in value)


def _scores(
    image: int,
    boxes: list[Box],
    predictions: list[tuple[Tensor, Tensor]],
    size: tuple[int, int],
    img_meta: dict,
) -> MaskScores:
    """Class scores of an image of a batch, from what was predicted of each window."""
    windows = [
        Window.of(box, mask_logits[image])
        for box, (_, mask_logits) in zip(boxes, predictions, strict=True)
    ]
    rows = _mask_rows(windows, size, img_meta)
    return MaskScores(rows, [class_probs[image] for class_probs, _ in predictions])


def _mask_rows(windows: list[Window], size: tuple[int, int], img_meta: dict) -> MaskRows:
    padding = img_meta.get('img_padding_size', img_meta.get('padding_size', (0, 0, 0, 0)))
    flip = img_meta.get('flip_direction', 'horizontal') if img_meta.get('flip') else None
    if flip not in (None, 'horizontal', 'vertical'):
        raise ValueError(f"flip_direction must be 'horizontal' or 'vertical', got {flip!r}")
    return MaskRows(windows, size, tuple(padding), flip, tuple(img_meta['ori_shape'][:2]))


def _grid(
    height: int, width: int, crop_size: tuple[int, int], stride: tuple[int, int]
) -> list[Box]:
    """Windows (top, left, height, width) that MMSegmentation's sliding inference visits."""
    (crop_h, crop_w), (stride_h, stride_w) = crop_size, stride
    rows = max(height - crop_h + stride_h - 1, 0) // stride_h + 1
    cols = max(width - crop_w + stride_w - 1, 0) // stride_w + 1
    return [
        (
            max(min(i * stride_h + crop_h, height) - crop_h, 0),
            max(min(j * stride_w + crop_w, width) - crop_w, 0),
            min(crop_h, height),
            min(crop_w, width),
        )
        for i in range(rows)
        for j in range(cols)
    ]
