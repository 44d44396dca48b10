"""One model's view of one image, gathered."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from mmengine.dataset import pseudo_collate
from torch import nn

from .focus import ClassMap, QueryFocus, class_map_of, query_focus
from .recorder import LayerRecord, Record, mask_head_of, record


class ModelView(NamedTuple):
    """What a model made of an image, before queries are chosen.

    Attributes:
        name: What to call the model.
        classes: Names of its classes.
        palette: RGB of each class, 0 to 255.
        image: RGB (H, W, 3) uint8, as the network saw it, without padding.
        recorded: What its decoder did.
        class_map: What came out.
        positional_query: The kind of its positional queries.
    """

    name: str
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    image: np.ndarray
    recorded: Record
    class_map: ClassMap
    positional_query: str

    @property
    def high_res_layers(self) -> list[LayerRecord]:
        """Layers that chose regions."""
        return [layer for layer in self.recorded.layers if layer.regions is not None]

    def label_of(self, query: int) -> int:
        """The class that a query most probably gives."""
        return int(self.recorded.class_probs[0, query].argmax())

    def main_query(self, label: int) -> int | None:
        """The query that adds most to a class; None if that is nowhere in the image."""
        return dict(self.class_map.main_queries()).get(label)

    def focus_of(self, query: int, label: int) -> QueryFocus:
        """What one query did."""
        return query_focus(self.recorded, label, query, self.image_size)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the image in the network's input, without padding."""
        return self.image.shape[0], self.image.shape[1]


def view_of(
    name: str,
    model: nn.Module,
    item: dict[str, Any],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> ModelView:
    """Runs a model on an image.

    Args:
        name: What to call the model.
        model: A segmentor or detector with a FASeg head, in evaluation mode.
        item: The image as a test pipeline packs it, ``inputs`` (3, H, W) in BGR.
        classes: Names of the model's classes.
        palette: RGB of each class, 0 to 255.

    Raises:
        TypeError: The model has no decoder that can be recorded.
    """
    kind = type(mask_head_of(model).positional_query).__name__
    image = item['inputs'].clamp(0, 255).byte().flip(0).permute(1, 2, 0).contiguous().numpy()
    # Pads on the right and at the bottom.
    inputs = cast(Any, model).data_preprocessor(pseudo_collate([item]))['inputs']
    recorded = record(model, inputs)
    class_map = class_map_of(recorded, (image.shape[0], image.shape[1]))
    return ModelView(name, classes, palette, image, recorded, class_map, kind)
