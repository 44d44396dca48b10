"""A segmentor from the picture to its class map, with all that its config does in between."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Height and width; in an export for all sizes they are symbols.
Size = tuple[Any, Any]


class Resize(NamedTuple):
    """How a test pipeline resizes pictures.

    Attributes:
        size_of: From the size of a picture to that of the network's input, without padding.
        antialias: Whether a pixel is a mean over its whole footprint, as Pillow resizes, or taken
            from between four pixels, as OpenCV.
    """

    size_of: Callable[[Size], Size]
    antialias: bool


class PictureModel(nn.Module):
    """What is exported: whoever runs it needs no config.

    Normalises, pads, predicts, and brings class scores back to the picture's size. All rows are
    made at once, where :class:`~mmseg_faseg.models.FASegSegmentor` makes some at a time.

    Args:
        segmentor: MMSegmentation's ``EncoderDecoder`` with a head that has ``predict_masks``.
        resize: How pictures are resized before; not at all if None.
        scores: Whether to return the class scores too.
    """

    def __init__(self, segmentor: nn.Module, resize: Resize | None, scores: bool) -> None:
        super().__init__()
        self.segmentor: Any = segmentor
        self.resize = resize
        self.scores = scores

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Predicts a picture.

        Args:
            image: RGB, (1, 3, H, W) uint8.

        Returns:
            The class of each pixel, (1, H, W) uint8, and class scores (1, K, H, W) if asked for.
        """
        size = image.shape[-2], image.shape[-1]
        x = image.float()
        if self.resize is not None:
            x = _resized(x, self.resize.size_of(size), antialias=self.resize.antialias).round()
        inside = x.shape[-2], x.shape[-1]
        x = self._padded(self._normalised(x))
        class_probs, masks = self.segmentor.decode_head.predict_masks(
            self.segmentor.extract_feat(x)
        )
        masks = _sigmoid(_resized(masks, x.shape[-2:]))
        scores = (class_probs.transpose(1, 2) @ masks.flatten(2)).unflatten(2, x.shape[-2:])
        scores = _fitted(scores, inside)
        if self.resize is not None:
            scores = _resized(scores, size)
        classes = scores.argmax(1).to(torch.uint8)
        return (classes, scores) if self.scores else classes

    def _normalised(self, x: Tensor) -> Tensor:
        preprocessor = self.segmentor.data_preprocessor
        if not preprocessor.channel_conversion:  # from the order in which OpenCV reads
            x = x.flip(1)
        if preprocessor._enable_normalize:
            x = (x - preprocessor.mean) / preprocessor.std
        return x

    def _padded(self, x: Tensor) -> Tensor:
        preprocessor = self.segmentor.data_preprocessor
        padding = preprocessor.test_cfg or {}
        size: Size = (x.shape[-2], x.shape[-1])
        if divisor := padding.get('size_divisor'):
            size = (
                (size[0] + divisor - 1) // divisor * divisor,
                (size[1] + divisor - 1) // divisor * divisor,
            )
        elif least := padding.get('size'):
            size = (torch.sym_max(size[0], least[0]), torch.sym_max(size[1], least[1]))
        return _fitted(x, size, preprocessor.pad_val)


def _resized(x: Tensor, size: Any, antialias: bool = False) -> Tensor:
    return F.interpolate(x, size, mode='bilinear', align_corners=False, antialias=antialias)


def _sigmoid(x: Tensor) -> Tensor:
    """Also where it is next to 0: ONNX Runtime's own ends at 1.5e-8.

    Pixels that no mask claims get the class of the mask that is least far from them.
    """
    return (1 + (-x).exp()).reciprocal()


def _fitted(x: Tensor, size: Size, value: float = 0) -> Tensor:
    """Pads at the right and the bottom up to a size, or cuts off there what is beyond it.

    In an export for all sizes a slice would ask which of the two sizes is larger.
    """
    return F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]), value=value)
