"""Label maps painted over their images."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

_IGNORED_COLOUR = (0, 0, 0)
_ROWS = 64  # painted at a time, in floating point


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.65
) -> np.ndarray:
    """Paints a label map over an image.

    Args:
        image: RGB (H, W, 3) uint8.
        labels: Label ids (H, W); those beyond the palette are painted black.
        palette: RGB of each class, 0 to 255.
        opacity: Of the paint, 0 to 1.

    Returns:
        RGB (H, W, 3) uint8.
    """
    colours = np.array([*palette, _IGNORED_COLOUR], dtype=np.float64)
    painted = np.empty_like(image)
    for start in range(0, len(image), _ROWS):
        rows = slice(start, start + _ROWS)
        paint = colours[np.minimum(labels[rows], len(palette))]
        painted[rows] = image[rows] * (1 - opacity) + paint * opacity + 0.5
    return painted


def save_predictions(
    file: Path,
    scenes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    paint: Callable[[np.ndarray, np.ndarray, Sequence], np.ndarray] = overlay,
) -> None:
    """Draws one row per scene: image, ground truth, prediction; with a legend of the classes.

    Args:
        file: Picture to write.
        scenes: Of each the image (H, W, 3) uint8 RGB, true and predicted ids (H, W).
        classes: Names.
        palette: RGB of each class, 0 to 255.
        paint: Paints ids over an image: :func:`overlay` those of labels,
            :func:`mmseg_faseg.explain.segments.paint_segments` those of panoptic segments.
    """
    figure = Figure(figsize=(7.2, 2.4 * len(scenes) + 0.7), layout='constrained')
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(scenes), 3, squeeze=False)
    for axes, (image, truth, prediction) in zip(rows, scenes, strict=True):
        panels = (image, *(paint(image, ids, palette) for ids in (truth, prediction)))
        for axis, panel in zip(axes, panels, strict=True):
            axis.imshow(panel)
            axis.axis('off')
    for axis, title in zip(rows[0], ('image', 'ground truth', 'prediction'), strict=True):
        axis.set_title(title, fontsize=10)
    patches = [
        Patch(color='#{:02x}{:02x}{:02x}'.format(*colour), label=name)
        for name, colour in zip(classes, palette, strict=True)
    ]
    figure.legend(
        handles=patches,
        loc='outside lower center',
        ncols=len(classes),
        fontsize=8,
        frameon=False,
        handlelength=1.5,
        columnspacing=1.2,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
