"""Draws what queries look at."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from .focus import LayerFocus, QueryFocus
from .numbers import FocusNumbers
from .overlay import overlay
from .recorder import LayerRecord

_TILE = 320  # pixels of the longest side that are drawn of an image
_WIDTH = 1.5  # inches of a tile
_DPI = 120
_ROWS = ('focus A', 'query points to', 'mask after it')


def save_focus(
    file: Path, image: np.ndarray, queries: Sequence[QueryFocus], classes: Sequence[str]
) -> None:
    """Writes what :func:`draw_focus` draws.

    Args:
        file: Picture to write.
        image: RGB (H, W, 3) uint8, of any size.
        queries: What :func:`.focus.focus_of_queries` gives; at least one.
        classes: Names.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_focus(image, queries, classes).savefig(file, dpi=_DPI)


def draw_focus(image: np.ndarray, queries: Sequence[QueryFocus], classes: Sequence[str]) -> Figure:
    """One row per query: the image with its mask, and where each layer looks."""
    layers = queries[0].layers
    figure, axes = _grid(image, len(queries), 1 + len(layers))
    tile = _Tile(image, queries[0].mask.shape)
    axes[0, 0].set_title('predicted mask', fontsize=8)
    _name_layers(axes[0, 1:], layers)
    for row, query in zip(axes, queries, strict=True):
        row[0].set_ylabel(f'{classes[query.label]} (query {query.query})', fontsize=8)
        row[0].imshow(_dim(tile, query.mask))
        for axis, layer in zip(row[1:], query.layers, strict=True):
            _draw_focus(axis, tile, layer.focus)
    return figure


def draw_query(image: np.ndarray, query: QueryFocus) -> Figure:
    """One query, a column per layer: its focus, where it points, and the mask that it then has.

    Args:
        image: RGB (H, W, 3) uint8, the network's input without padding.
        query: The query.
    """
    figure, axes = _grid(image, len(_ROWS), len(query.layers))
    tile = _Tile(image, query.mask.shape)
    _name_layers(axes[0], query.layers)
    for axis, name in zip(axes[:, 0], _ROWS, strict=True):
        axis.set_ylabel(name, fontsize=8)
    for column, layer in zip(axes.T, query.layers, strict=True):
        _draw_focus(column[0], tile, layer.focus)
        column[1].imshow(tile.grey, cmap='gray', vmin=0, vmax=255)
        column[1].imshow(tile.stretch(layer.points), cmap='viridis', alpha=0.75)
        column[2].imshow(_dim(tile, layer.mask))
    return figure


def draw_regions(image: np.ndarray, size: tuple[int, int], layers: Sequence[LayerRecord]) -> Figure:
    """Where high-resolution attention looked in each round, the rest dark.

    Args:
        image: RGB (H, W, 3) uint8, the network's input without padding.
        size: (H, W) of the network's input.
        layers: Those with regions, at least one.
    """
    figure, axes = _grid(image, 1, len(layers), enlarged=1.6)
    tile = _Tile(image, size)
    for axis, layer in zip(axes[0], layers, strict=True):
        chosen: torch.Tensor = layer.regions[0]  # type: ignore[index]
        axis.imshow(_dim(tile, chosen.float().cpu().numpy(), 'nearest'))
        share = chosen.float().mean().item()
        axis.set_title(f'layer {layer.index + 1}: {share:.1%} of the tokens', fontsize=8)
    return figure


def draw_classes(
    image: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Figure:
    """The image, and beside it its classes with a legend."""
    figure, axes = _grid(image, 1, 2, enlarged=2)
    axes[0, 0].imshow(image)
    axes[0, 1].imshow(overlay(image, labels, palette))
    found = np.unique(labels).tolist()
    colours = ['#{:02x}{:02x}{:02x}'.format(*palette[k]) for k in found]
    patches = [Patch(color=c, label=classes[k]) for c, k in zip(colours, found, strict=True)]
    figure.legend(handles=patches, loc='outside lower center', ncols=4, fontsize=8, frameon=False)
    return figure


def draw_numbers(models: Sequence[tuple[str, list[FocusNumbers]]]) -> Figure:
    """Curves over the layers, one line per model.

    Args:
        models: Of each its name, and the numbers of each layer.
    """
    figure = Figure(figsize=(9, 2.6), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(FocusNumbers._fields))
    titles = ('entropy, share of the largest', 'share inside the mask', 'distance of the centres')
    for axis, title, field in zip(axes, titles, FocusNumbers._fields, strict=True):
        for (name, layers), style in zip(models, ('o-', 's--'), strict=False):
            values = [getattr(numbers, field) for numbers in layers]
            axis.plot(range(1, len(values) + 1), values, style, label=name, markersize=3)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel('layer', fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize=8)
    return figure


def pixels_of(figure: Figure) -> np.ndarray:
    """A figure as RGB (H, W, 3) uint8."""
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG file of 256 colours, a third of the size that all colours take."""
    data = io.BytesIO()
    Image.fromarray(pixels_of(figure)).quantize(256).save(data, 'PNG', optimize=True)
    return data.getvalue()


class _Tile:
    """An image small enough to be drawn many times, and maps of the network's input over it."""

    def __init__(self, image: np.ndarray, size: tuple[int, ...]) -> None:
        """Takes an image (H, W, 3) that lies at the top left of an input (H', W')."""
        scale = min(1.0, _TILE / max(image.shape))
        self.height, self.width = (max(1, round(side * scale)) for side in image.shape[:2])
        self.size = tuple(max(1, round(whole * scale)) for whole in size)
        small = Image.fromarray(image).resize((self.width, self.height), Image.Resampling.BOX)
        self.rgb = np.asarray(small)
        self.grey = self.rgb.mean(-1)

    def stretch(self, values: np.ndarray, mode: str = 'bilinear') -> np.ndarray:
        """Values (h, w) that cover the input, on the tile."""
        maps = torch.from_numpy(values)[None, None]
        corners = None if mode == 'nearest' else False
        resized = F.interpolate(maps, self.size, mode=mode, align_corners=corners)
        return resized[0, 0, : self.height, : self.width].numpy()


def _grid(
    image: np.ndarray, rows: int, columns: int, enlarged: float = 1
) -> tuple[Figure, np.ndarray]:
    """A figure with places for tiles of an image."""
    width = _WIDTH * enlarged
    height = width * min(max(image.shape[0] / image.shape[1], 0.3), 3)
    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes


def _name_layers(axes: np.ndarray, layers: Sequence[LayerFocus]) -> None:
    for axis, layer in zip(axes, layers, strict=True):
        height, width = layer.focus.shape
        axis.set_title(f'layer {layer.layer + 1}\n{height} x {width} tokens', fontsize=8)


def _draw_focus(axis: Axes, tile: _Tile, focus: np.ndarray) -> None:
    look = tile.stretch(focus)
    share = look / max(look.max(), np.finfo(look.dtype).tiny)  # all of it may lie in the padding
    axis.imshow(tile.grey, cmap='gray', vmin=0, vmax=400)
    axis.imshow(share, cmap='inferno', vmin=0, vmax=1, alpha=0.25 + 0.7 * share)


def _dim(tile: _Tile, mask: np.ndarray, mode: str = 'bilinear') -> np.ndarray:
    """The image, dark where the mask is not."""
    return (tile.rgb * (0.2 + 0.8 * tile.stretch(mask, mode)[..., None])).astype(np.uint8)
