"""What can be wrong with one image and its label map. Each check is a function and has its name."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image
from torch import nn

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 lie on their side


@dataclass(frozen=True)
class Expected:
    """What a model takes.

    Attributes:
        num_classes: Label ids may be 0 to ``num_classes - 1``,
        ignore_index: or this.
        channels: Of images; None if that cannot be told.
    """

    num_classes: int
    ignore_index: int
    channels: int | None = None

    @classmethod
    def by(cls, model: Any) -> 'Expected | None':
        """Of a segmentor; None if it has no head that decides on classes."""
        head: Any = getattr(model, 'decode_head', None)
        if isinstance(head, nn.ModuleList):
            head = head[-1]
        if not hasattr(head, 'num_classes') or not hasattr(head, 'ignore_index'):
            return None
        return cls(head.num_classes, head.ignore_index, channels_of(model))


def channels_of(model: Any) -> int | None:
    """How many channels the backbone's first convolution takes."""
    parts = getattr(model, 'backbone', nn.Module()).modules()
    return next((part.in_channels for part in parts if isinstance(part, nn.Conv2d)), None)


@dataclass
class Loaded:
    """An image, as the pipeline reads it.

    Attributes:
        info: The data set's entry, with ``img_path`` and ``seg_map_path`` where there are files.
        image: (H, W, C) or (H, W).
    """

    info: dict
    image: np.ndarray

    @property
    def image_name(self) -> str:
        """The image's file, for messages."""
        return str(self.info.get('img_path', f'image {self.info.get("sample_idx")}'))


@dataclass
class Pair(Loaded):
    """An image and its label map, as the pipeline reads them.

    Attributes:
        labels: Ids (H, W), after everything that the pipeline does to ids.
        sizes: (H, W) of both when they were loaded.
        loader: The transform that read the labels, if it is MMSegmentation's.
    """

    labels: np.ndarray
    sizes: tuple[tuple[int, ...], tuple[int, ...]]
    loader: LoadAnnotations | None

    @property
    def label_name(self) -> str:
        """The label map's file, for messages."""
        return str(self.info.get('seg_map_path') or f'the labels of {self.image_name}')

    def open(self, key: str) -> Image.Image:
        """A file as PIL sees it; ``key`` as in ``info``."""
        path, backend_args = self.info[key], getattr(self.loader, 'backend_args', None)
        content = fileio.get(path, backend_args=backend_args) if backend_args else None
        return Image.open(path if content is None else BytesIO(content))


def label_channels(pair: Pair, expected: Expected) -> str | None:
    """Label maps have one id per pixel, not colours."""
    if pair.labels.ndim == 2:
        return None
    shape = pair.labels.shape
    return f'{pair.label_name}: has shape {shape}; one label id per pixel is needed, not colours'


def label_size(pair: Pair, expected: Expected) -> str | None:
    """Label maps are as large as their images."""
    (height, width), (label_height, label_width) = pair.sizes
    if (height, width) == (label_height, label_width):
        return None
    return (
        f'{pair.image_name} is {width} x {height} (width x height), but {pair.label_name} is '
        f'{label_width} x {label_height}'
    )


def label_bits(pair: Pair, expected: Expected) -> str | None:
    """Label ids of 16 and 32 bit files fit the 8 bits that MMSegmentation's loader keeps."""
    if pair.loader is None or pair.labels.dtype != np.uint8:
        return None
    try:
        with pair.open('seg_map_path') as image:
            if not image.mode.startswith(('I', 'F')):
                return None
            ids = np.asarray(image)
    except Exception:  # another decoder read it; whatever PIL raises is not about ids
        return None
    lost = np.unique(ids[(ids < 0) | (ids > 255)]).tolist()
    if not lost:
        return None
    kept = f'do not fit the 8 bits that {type(pair.loader).__name__} keeps'
    return f'{pair.label_name}: label ids {lost} {kept}'


def label_ids(pair: Pair, expected: Expected) -> str | None:
    """Label ids are classes of the model, or ignored."""
    ids = np.unique(pair.labels)
    outside = (ids < 0) | (ids >= expected.num_classes) | (ids != ids.astype(np.int64))
    outside &= ids != expected.ignore_index
    if not outside.any():
        return None
    return (
        f'{pair.label_name}: label ids {ids[outside].tolist()} are no class; the model has '
        f'{expected.num_classes} classes (ids 0 to {expected.num_classes - 1}) and ignores '
        f'{expected.ignore_index}'
    )


def image_channels(pair: Loaded, expected: Any) -> str | None:
    """Images have the channels that the backbone takes."""
    channels = pair.image.shape[2] if pair.image.ndim == 3 else 1
    if expected.channels in (None, channels):
        return None
    return (
        f'{pair.image_name}: is loaded with {channels} channels, but the backbone takes '
        f'{expected.channels}: set model.backbone.in_channels={channels}, and as many values of '
        'model.data_preprocessor.mean and std'
    )


def orientation(pair: Pair, expected: Expected) -> str | None:
    """Whether an image that is turned when it is loaded fits its label map can be told by sizes."""
    try:
        with pair.open('img_path') as image:
            tag = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # another decoder read it
        return None
    height, width = pair.sizes[0]
    if tag not in range(2, 9) or (tag >= 5 and height != width):
        return None  # upright, or told by the sizes
    return (
        f'{pair.image_name}: has an orientation tag ({tag}); sizes do not tell whether its label '
        'map lies the same way'
    )


Check = Callable[[Pair, Expected], str | None]
# In this order: each relies on those before it.
REFUSED: tuple[Check, ...] = (label_channels, label_size, label_bits, label_ids, image_channels)
WARNED: tuple[Check, ...] = (orientation,)
