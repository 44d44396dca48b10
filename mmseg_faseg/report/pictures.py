"""Draws what a report shows, as data that the page itself carries."""

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset

from ..explain.overlay import overlay
from .scalars import Curve, Curves

_LONGEST = 320  # pixels of a picture's longer side
_STRIPE = 4  # pixels
_COLUMNS = 4
RUN_COLOURS = ('#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2')


class Scene(NamedTuple):
    """An image with its classes.

    Attributes:
        image: RGB (H, W, 3), uint8, as the model got it.
        truth: Classes (H, W).
        predicted: Classes (H, W).
    """

    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


class Scenes:
    """Keeps predictions in a folder, to draw those that turn out to be worth it.

    Args:
        dataset: Where images and labels are read again.
        folder: An empty one.
    """

    def __init__(self, dataset: BaseDataset, folder: Path) -> None:
        self.dataset = dataset
        self.folder = folder

    def keep(self, index: int, predicted: np.ndarray) -> None:
        """Remembers the predicted classes (H, W) of an image."""
        cv2.imwrite(str(self._file(index)), predicted.astype(np.uint16))

    def __getitem__(self, index: int) -> Scene:
        item = self.dataset[index]
        pixels = item['inputs'].numpy()[:3]  # of more channels the first three, of one that alone
        image = np.broadcast_to(pixels[::-1], (3, *pixels.shape[1:])).transpose(1, 2, 0)
        predicted = np.asarray(cv2.imread(str(self._file(index)), cv2.IMREAD_UNCHANGED))
        truth = item['data_samples'].gt_sem_seg.data[0].numpy()
        return Scene(image.astype(np.uint8), truth, predicted)

    def _file(self, index: int) -> Path:
        return self.folder / f'{index}.png'


def draw_scenes(scenes: Sequence[Scene], palette: Sequence[Sequence[int]]) -> list[str]:
    """Draws an image, its truth and what each of several runs predicts.

    Args:
        scenes: The same image with the prediction of each run.
        palette: RGB of each class.

    Returns:
        Addresses of pictures: image, truth, predictions.
    """
    first = scenes[0]
    image, size = first.image, _size(first.truth.shape)
    shrinks = size[0] < image.shape[1]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    maps = [first.truth, *(scene.predicted for scene in scenes)]
    painted = [_paint(image, _resized(labels, size), palette) for labels in maps]
    return [_jpeg(picture) for picture in (image, *painted)]


def draw_curves(runs: Sequence[Curves]) -> str | None:
    """Draws each quantity over iterations, those of all runs in one picture.

    Returns:
        The address of an SVG picture; None where no run has a curve.
    """
    curves = [run.by_name() for run in runs]
    names = list(dict.fromkeys(name for run in curves for name in run))
    if not names:
        return None
    rows = -(-len(names) // _COLUMNS)
    # Names come from a file: none is a formula, and no font has all letters.
    with matplotlib.rc_context({'text.parse_math': False}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph')
        figure = Figure(figsize=(13, 2.4 * rows), layout='constrained')
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axis, name in zip(axes, names, strict=False):
            _draw_quantity(axis, name, curves)
        for axis in axes[len(names) :]:
            axis.axis('off')
        content = io.BytesIO()
        figure.savefig(content, format='svg')
    return _address('image/svg+xml', content.getvalue())


def _draw_quantity(axis, name: str, curves: Sequence[Mapping[str, Curve]]) -> None:
    for place, run in enumerate(curves):
        if name in run:
            steps, values = zip(*run[name], strict=True)
            colour = RUN_COLOURS[place % len(RUN_COLOURS)]
            axis.plot(steps, values, color=colour, linewidth=1.2, marker='.', markersize=3)
    axis.set_title(name, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.spines[['top', 'right']].set_visible(False)


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """Width and height that a picture of a map (H, W) gets."""
    scale = _LONGEST / max(shape)
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(labels.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)


def _paint(image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """The image with classes over it, striped where there is none: any colour may be a class's."""
    rows, columns = np.indices(labels.shape)
    stripes = np.array([70, 150], np.uint8)[(rows + columns) // _STRIPE % 2][..., None]
    return np.where((labels >= len(palette))[..., None], stripes, overlay(image, labels, palette))


def _jpeg(image: np.ndarray) -> str:
    """The address of a picture, from RGB (H, W, 3)."""
    _, content = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return _address('image/jpeg', content.tobytes())


def _address(kind: str, content: bytes) -> str:
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'
