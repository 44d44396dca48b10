"""Predicts the classes of images' pixels, from whatever holds an image."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor

from ..datasets.read_image import from_array, from_pil, read_image
from ..errors import UserError
from ..models import FASegSegmentor
from ..models.merging.rows import Box
from ..models.merging.scores import MeanScores, Scores, StoredScores
from ..models.merging.semantic import MaskScores
from ..models.merging.tiles import BlendedTiles
from .prediction import ClassMap, Prediction, class_map, share_of_scores, softmax
from .trained_model import load_segmentor
from .views import Views

ImageLike = str | os.PathLike | np.ndarray | Image.Image
Several = list[Any] | tuple[Any, ...]


class Predictor:
    """A trained model that is given images and tells the class of every pixel.

    .. code-block:: python

        from mmseg_faseg import Predictor

        predict = Predictor('runs/street')
        found = predict('photo.jpg')
        print(found.areas)

    Args:
        checkpoint: A checkpoint, or the work dir of a run, whose best one is taken, else its
            newest.
        config: The model's config; the one that the checkpoint carries if None.
        device: Such as ``'cpu'`` or ``'cuda:1'``; a GPU where there is one if None.
        tile: Side of the square tiles that larger images are cut into, or its height and width, in
            pixels of the image; without, images are looked at whole. Every tile goes through the
            test pipeline as an image does.
        overlap: Of neighbouring tiles, at least, as a share of their side.
        tta: Whether to average over several views of an image: those of the config's
            ``tta_pipeline``, or 0.75, 1 and 1.25 times its size, each with its mirror image.
        amp: Whether to run the network in half precision: float16 on a GPU, else bfloat16.
        batch_size: How many images, tiles or views of one size go through the network at a time.
        trust: Whether to take the checkpoint's config as it is written, which can run code.

    Raises:
        UserError: There is no such model, or an argument is out of range.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: str | Path | None = None,
        device: str | None = None,
        *,
        tile: int | tuple[int, int] | None = None,
        overlap: float = 0.25,
        tta: bool = False,
        amp: bool = False,
        batch_size: int = 1,
        trust: bool = False,
    ) -> None:
        self.tile = None if tile is None else _pair(tile)
        if not 0 <= overlap < 1:
            raise UserError(f'overlap must be a share from 0 to below 1, got {overlap}')
        if batch_size < 1:
            raise UserError(f'batch_size must be at least 1, got {batch_size}')
        self.overlap, self.amp, self.batch_size = overlap, amp, batch_size
        trained = load_segmentor(checkpoint, config, device, trust)
        self.model, self.cfg, self.checkpoint = trained.model, trained.cfg, trained.checkpoint
        self.classes, self.palette = trained.classes, trained.palette
        self._views = Views(self.cfg, tta)
        sums = isinstance(self.model.decode_head, Mask2FormerHead)
        self._probabilities = share_of_scores if sums else softmax
        self._lays_masks_down: Callable | None = None
        if isinstance(self.model, FASegSegmentor) and not tta:  # which averages scores
            self._lays_masks_down = self.model.mask_wise()
        if self._lays_masks_down and self.tile:
            raise UserError(
                "tile needs test_cfg.merging='argmax': whole masks cannot be put together from "
                'tiles'
            )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @overload
    def __call__(self, images: ImageLike, channels: str | None = None) -> Prediction: ...

    @overload
    def __call__(self, images: Several, channels: str | None = None) -> list[Prediction]: ...

    def __call__(
        self, images: ImageLike | Several, channels: str | None = None
    ) -> Prediction | list[Prediction]:
        """Predicts an image, or each of a list of images of any sizes.

        Args:
            images: A path, a PIL image, an array (see :func:`.read_image.from_array`), or a list or
                tuple of such.
            channels: The order of colours in arrays, ``'rgb'`` or ``'bgr'``, which has no default.

        Raises:
            UserError: An image cannot be read, or needs more memory than there is.
        """
        if not isinstance(images, list | tuple):
            return next(self._predict([_as_rgb(images, channels)]))
        found: list[Prediction] = []
        for some in batches(images, self.batch_size):
            found += self._predict([_as_rgb(image, channels) for image in some])
        return found

    def _predict(self, images: Sequence[np.ndarray]) -> Iterator[Prediction]:
        """Of images RGB (H, W, 3) uint8; those that fit into a tile go together."""
        try:
            whole = iter(self._scores([image for image in images if self._fits(image)]))
            for image in images:
                scores = next(whole) if self._fits(image) else self._tiled(image)
                yield self._prediction(image, self._class_map(scores))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_about_memory(error):
                raise
            sizes = ', '.join(f'{image.shape[1]} x {image.shape[0]}' for image in images)
            hint = 'smaller tiles' if self.tile else 'tile=1024 or less'
            raise UserError(
                f'there is too little memory for {sizes} pixels: take {hint}, or batch_size=1'
            ) from None

    def _fits(self, image: np.ndarray) -> bool:
        return self.tile is None or (
            image.shape[0] <= self.tile[0] and image.shape[1] <= self.tile[1]
        )

    def _tiled(self, image: np.ndarray) -> BlendedTiles:
        assert self.tile is not None

        def predict(boxes: list[Box]) -> list[MeanScores]:
            found: list[MeanScores] = []
            for some in batches(boxes, self.batch_size):
                found += self._scores([image[y : y + h, x : x + w] for y, x, h, w in some])
            return found

        return BlendedTiles((image.shape[0], image.shape[1]), self.tile, self.overlap, predict)

    def _scores(self, images: Sequence[np.ndarray]) -> list[MeanScores]:
        """Of images, each the mean over its views."""
        means: dict[int, MeanScores] = {}
        views = [(i, *view) for i, image in enumerate(images) for view in self._views(image)]
        for _, alike in itertools.groupby(views, key=lambda view: view[1].shape):
            for some in batches(alike, self.batch_size):
                numbers, inputs, samples = zip(*some, strict=True)
                for number, scores in zip(numbers, self._run(inputs, samples), strict=True):
                    if number in means:
                        means[number].add(scores)
                    else:
                        means[number] = MeanScores(scores)
        return [means[index] for index in range(len(images))]

    @torch.no_grad()
    def _run(self, inputs: Sequence[Tensor], samples: Sequence[SegDataSample]) -> Sequence[Scores]:
        """Of inputs of one size, as of the test pipeline."""
        data = dict(inputs=list(inputs), data_samples=list(samples))
        kind = torch.float16 if self.device.type == 'cuda' else torch.bfloat16
        with torch.autocast(self.device.type, kind, enabled=self.amp):
            data = self.model.data_preprocessor(data, False)
            if isinstance(self.model, FASegSegmentor):
                return self.model.predict_scores(data['inputs'], data['data_samples'])
            samples = self.model.predict(data['inputs'], data['data_samples'])
        return [StoredScores(sample.seg_logits.data.float()) for sample in samples]

    def _class_map(self, scores: MeanScores | BlendedTiles) -> ClassMap:
        count = len(self.classes)
        found = class_map(scores, count, self._probabilities)
        if self._lays_masks_down is None:
            return found
        assert isinstance(scores, MeanScores)
        (view,) = scores.views
        assert isinstance(view, MaskScores)
        by_scores = torch.from_numpy(found.labels.astype(np.int64)).to(view.device)[None]
        labels = self._lays_masks_down(view.masks, view.class_probs[0], by_scores)[0]
        return class_map(scores, count, self._probabilities, labels.cpu().numpy())

    def _prediction(self, image: np.ndarray, found: ClassMap) -> Prediction:
        largest = sorted(np.flatnonzero(found.pixels), key=lambda label: -found.pixels[label])
        return Prediction(
            image,
            found.labels,
            self.classes,
            self.palette,
            {self.classes[label]: int(found.pixels[label]) for label in largest},
            {self.classes[label]: float(found.confidence[label]) for label in largest},
        )


def _as_rgb(image: ImageLike, channels: str | None) -> np.ndarray:
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image, channels)
    raise UserError(
        f'an image is a path, an array, a PIL image or a list of these, got {type(image).__name__}'
    )


def _pair(tile: int | tuple[int, int]) -> tuple[int, int]:
    sides = (tile, tile) if isinstance(tile, int) else tuple(tile)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 32 for side in sides):
        raise UserError(f'tile must be a side or a height and width, at least 32, got {tile}')
    return sides[0], sides[1]


Item = TypeVar('Item')


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields as many items at a time as fit into a batch."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _is_about_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or 'not enough memory' in str(error)
