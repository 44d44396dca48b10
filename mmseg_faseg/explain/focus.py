"""What the dynamic positional queries look at: the focus A of the cross-attention layers."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmseg.models import BaseSegmentor
from torch import Tensor


class QueryFocus(NamedTuple):
    """One query's view of an image.

    Attributes:
        query: Its index.
        label: The class it contributes to.
        mask: Its predicted mask, probabilities (H, W).
        focus: For each layer that reports one, where it looks: probabilities on the tokens of the
            layer's level, by the layer's index.
    """

    query: int
    label: int
    mask: np.ndarray
    focus: dict[int, np.ndarray]


@contextmanager
def record_focus(model: BaseSegmentor):
    """Collects the focus of all cross-attention layers of forward passes made inside.

    Yields:
        A dict from the layer's index to its focus (B, Q, HW); layers that report none are absent.
    """
    recorded: dict[int, Tensor] = {}

    def keep(index: int):
        def hook(_module, _args, output) -> None:
            # Mask2Former's attention returns its output alone.
            if isinstance(output, tuple) and output[1] is not None:
                recorded[index] = output[1].detach().float().cpu()

        return hook

    layers = model.decode_head.transformer_decoder.layers
    handles = [
        layer.cross_attn.register_forward_hook(keep(index)) for index, layer in enumerate(layers)
    ]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def focus_of_queries(model: BaseSegmentor, inputs: Tensor) -> list[QueryFocus]:
    """Runs one image and gives, for each class found in it, the query that contributes most.

    Args:
        model: A FASeg segmentor in evaluation mode.
        inputs: The pre-processed image, (1, 3, H, W).

    Returns:
        One entry per class of the predicted class map, in the order of the classes.
    """
    with record_focus(model) as recorded:
        class_logits, mask_logits = model.decode_head(model.extract_feat(inputs))
    class_probs = class_logits[-1][0].softmax(-1)[:, :-1]
    size = inputs.shape[-2:]
    masks = F.interpolate(mask_logits[-1], size, mode='bilinear', align_corners=False)[0].sigmoid()
    class_map = torch.einsum('qk,qhw->khw', class_probs, masks).argmax(0)
    num_levels = model.decode_head.num_transformer_feat_level
    found = []
    for label in class_map.unique().tolist():
        query = int((class_probs[:, label] * (masks * (class_map == label)).sum((1, 2))).argmax())
        focus = {
            index: _as_map(value[0, query], index % num_levels, size)
            for index, value in recorded.items()
        }
        found.append(QueryFocus(query, label, masks[query].cpu().numpy(), focus))
    return found


def _as_map(focus: Tensor, level: int, size: Sequence[int]) -> np.ndarray:
    """Tokens (HW,) of a level of stride 32 / 2 ** level to its map (H, W)."""
    stride = 32 >> level
    height, width = (-(-side // stride) for side in size)  # rounded up
    return focus.reshape(height, width).numpy()


def save_focus(
    file: Path, image: np.ndarray, queries: Sequence[QueryFocus], classes: Sequence[str]
) -> None:
    """Draws one row per query: the image with its mask, and where each layer looks.

    Args:
        file: Picture to write.
        image: RGB (H, W, 3) uint8.
        queries: What :func:`focus_of_queries` gives; at least one.
        classes: Names.
    """
    layers = sorted(queries[0].focus)
    columns = 1 + len(layers)
    figure = Figure(figsize=(1.5 * columns, 1.6 * len(queries) + 0.6), layout='constrained')
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(queries), columns, squeeze=False)
    for axes, query in zip(rows, queries, strict=True):
        for axis in axes:
            axis.set(xticks=[], yticks=[])
        axes[0].imshow(_dim(image, query.mask))
        axes[0].set_ylabel(f'{classes[query.label]} (query {query.query})', fontsize=8)
        for axis, layer in zip(axes[1:], layers, strict=True):
            look = _stretch(query.focus[layer], image.shape[:2])
            axis.imshow(image.mean(-1), cmap='gray', vmin=0, vmax=400)
            axis.imshow(look, cmap='inferno', alpha=0.25 + 0.7 * look / look.max())
    rows[0, 0].set_title('predicted mask', fontsize=8)
    for axis, layer in zip(rows[0, 1:], layers, strict=True):
        height, width = queries[0].focus[layer].shape
        axis.set_title(f'layer {layer + 1}\n{height} x {width} tokens', fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _dim(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image, dark where the mask is not."""
    return (image * (0.2 + 0.8 * mask[..., None])).astype(np.uint8)


def _stretch(focus: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = F.interpolate(
        torch.from_numpy(focus)[None, None], size, mode='bilinear', align_corners=False
    )
    return resized[0, 0].numpy()
