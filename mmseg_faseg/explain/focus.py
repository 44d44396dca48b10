"""What the queries of a FASeg model look at, layer by layer: the focus A of the cross-attention."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.merging.rows import Window, row_slices
from .numbers import FocusNumbers, focus_numbers, mean_numbers
from .recorder import LayerRecord, Record, record


class LayerFocus(NamedTuple):
    """One query in one layer.

    Attributes:
        layer: The layer's index, from 0.
        focus: Where it looks: probabilities on the tokens of the layer's level, (h, w).
        points: How well the position of each token fits where the query's position points, (h, w);
            the larger the better.
        mask: The query's mask after the layer, probabilities at the head's resolution.
        numbers: How the focus lies to the query's final mask.
        in_regions: Whether the layer looked into chosen regions only, the same for all queries.
    """

    layer: int
    focus: np.ndarray
    points: np.ndarray
    mask: np.ndarray
    numbers: FocusNumbers
    in_regions: bool


class QueryFocus(NamedTuple):
    """One query's view of an image.

    Attributes:
        query: Its index.
        label: The class it contributes to.
        probability: That it gives this class.
        mask: Its predicted mask, probabilities on the network's input with its padding, (H, W).
        area: Share of the image that the mask covers.
        layers: All layers.
    """

    query: int
    label: int
    probability: float
    mask: np.ndarray
    area: float
    layers: list[LayerFocus]

    @property
    def mean(self) -> FocusNumbers:
        """Numbers averaged over the layers that could look anywhere."""
        return mean_numbers([layer.numbers for layer in self.layers if not layer.in_regions])


class ClassMap(NamedTuple):
    """What became of an image.

    Attributes:
        labels: Class ids of the image without padding, (H, W).
        contributions: How much each query adds to each class where that wins, (Q, K).
    """

    labels: np.ndarray
    contributions: Tensor

    def main_queries(self) -> list[tuple[int, int]]:
        """Of each class found, in their order: the class, and the query that adds most to it."""
        return [
            (k, int(self.contributions[:, k].argmax())) for k in np.unique(self.labels).tolist()
        ]


def focus_of_queries(model: nn.Module, inputs: Tensor) -> list[QueryFocus]:
    """Runs one image and gives, for each class found in it, the query that contributes most.

    Args:
        model: A FASeg segmentor in evaluation mode.
        inputs: The pre-processed image, (1, 3, H, W), of any size.

    Returns:
        One entry per class of the predicted class map, in the order of the classes.

    Raises:
        TypeError: The model has no decoder that can be recorded.
    """
    recorded = record(model, inputs)
    chosen = class_map_of(recorded, recorded.size).main_queries()
    return [query_focus(recorded, *pair, recorded.size) for pair in chosen]


@torch.no_grad()
def class_map_of(recorded: Record, image_size: tuple[int, int]) -> ClassMap:
    """The classes of the first image, and who made them, a few rows at a time.

    Args:
        recorded: What the decoder did.
        image_size: (H, W) of the image in the network's input, without padding.
    """
    (height, width), probs = image_size, recorded.class_probs[0]
    window = Window.of((0, 0, *recorded.size), recorded.mask_logits[0])
    labels = np.empty(image_size, np.int64)
    contributions = torch.zeros_like(probs)
    row_bytes = 4 * recorded.size[1] * (sum(probs.shape) + probs.shape[1])
    for rows in row_slices(height, row_bytes, probs.device):
        masks = window.rows(rows.start, rows.stop)[:, :width].sigmoid()
        classes = (masks @ probs).argmax(-1)
        labels[rows] = classes.cpu().numpy()
        contributions += masks.flatten(0, 1).T @ F.one_hot(classes.flatten(), probs.shape[1]).to(
            probs.dtype
        )
    return ClassMap(labels, contributions * probs)


@torch.no_grad()
def query_at(recorded: Record, label: int, row: int, column: int) -> int:
    """The query that adds most to a class at a pixel of the first image.

    Args:
        recorded: What the decoder did.
        label: The class.
        row: Of the pixel in the network's input.
        column: Of the pixel in the network's input.
    """
    window = Window.of((0, 0, *recorded.size), recorded.mask_logits[0])
    masks = window.rows(row, row + 1)[0, column].sigmoid()
    return int((masks * recorded.class_probs[0, :, label]).argmax())


def query_focus(
    recorded: Record, label: int, query: int, image_size: tuple[int, int]
) -> QueryFocus:
    """Gathers what one query did on the first image.

    Args:
        recorded: What the decoder did.
        label: The class it contributes to.
        query: Its index.
        image_size: (H, W) of the image in the network's input, without padding.
    """
    logits = recorded.mask_logits[:, [query]]
    resized = F.interpolate(logits, recorded.size, mode='bilinear', align_corners=False)
    mask = _numpy(resized.sigmoid()[0, 0])
    inside = mask >= 0.5
    inside[image_size[0] :] = False
    inside[:, image_size[1] :] = False

    def layer_focus(layer: LayerRecord) -> LayerFocus:
        focus = _numpy(layer.focus_map(query))
        return LayerFocus(
            layer=layer.index,
            focus=focus,
            points=_numpy(layer.points_map(query)),
            mask=_numpy(recorded.mask_map(layer, query).sigmoid()),
            numbers=focus_numbers(focus, inside, image_size),
            in_regions=layer.regions is not None,
        )

    return QueryFocus(
        query=query,
        label=label,
        probability=float(recorded.class_probs[0, query, label]),
        mask=mask,
        area=float(inside.sum() / np.prod(image_size)),
        layers=[layer_focus(layer) for layer in recorded.layers],
    )


def mean_by_layer(queries: Sequence[QueryFocus]) -> list[FocusNumbers]:
    """Numbers of each layer, averaged over queries."""
    layers = zip(*(query.layers for query in queries), strict=True)
    return [mean_numbers([one.numbers for one in layer]) for layer in layers]


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
