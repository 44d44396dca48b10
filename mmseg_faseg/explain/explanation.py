"""One model's view of one image, gathered."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from .focus import ClassMap, QueryFocus, class_map_of, query_focus
from .numbers import FocusNumbers, mean_numbers
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
    inputs: Tensor,
    image: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> ModelView:
    """Runs a model on an image.

    Args:
        name: What to call the model.
        model: A segmentor or detector with a FASeg head, in evaluation mode.
        inputs: The pre-processed image, (1, 3, H, W), padded on the right and at the bottom.
        image: The same as RGB (h, w, 3) uint8, without padding.
        classes: Names of the model's classes.
        palette: RGB of each class, 0 to 255.

    Raises:
        TypeError: The model has no decoder that can be recorded.
    """
    kind = type(mask_head_of(model).positional_query).__name__
    recorded = record(model, inputs)
    class_map = class_map_of(recorded, (image.shape[0], image.shape[1]))
    return ModelView(name, classes, palette, image, recorded, class_map, kind)


def mean_of_layers(query: QueryFocus) -> FocusNumbers:
    """A query's numbers, averaged over its layers."""
    return mean_numbers([layer.numbers for layer in query.layers])
