"""Predictions as files: a label map, and the image with its classes and a legend."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import make_folder, whole_file
from .prediction import Prediction

_LONGEST_JPEG = 65_500  # pixels a side


def save_label_map(path: Path, prediction: Prediction) -> None:
    """Writes the number of each pixel's class, as PNG with the classes' colours for a palette.

    Of more than 256 classes it is a grey image of 16 bits.

    Args:
        path: The file; its folder is made.
        prediction: What to write.

    Raises:
        UserError: It cannot be written.
    """
    image = Image.fromarray(prediction.label_map)
    if prediction.label_map.dtype == np.uint8:
        image.putpalette([part for colour in prediction.palette for part in colour])
    _save(path, image)


def save_overlay(path: Path, prediction: Prediction) -> Path:
    """Writes the image with its classes painted over it and a legend.

    Args:
        path: The file, JPEG or PNG by its suffix; its folder is made.
        prediction: What to write.

    Returns:
        The file: ``.png`` for a picture longer than JPEG allows.

    Raises:
        UserError: It cannot be written.
    """
    painted = prediction.overlay()
    if max(painted.shape) > _LONGEST_JPEG:
        path = path.with_suffix('.png')
    _save(path, Image.fromarray(painted), quality=92)
    return path


def _save(path: Path, image: Image.Image, **options: Any) -> None:
    make_folder(path.parent)
    with whole_file(path) as temporary:
        image.save(temporary, **options)
