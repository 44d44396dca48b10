"""MMSegmentation's visualizer under OpenCV 5, which draws into arrays of C order only."""

import functools
from typing import Any

import numpy as np
from mmseg.visualization import SegLocalVisualizer


def draw_images_of_any_layout() -> None:
    """Has images with other strides drawn too, such as a (3, H, W) permuted to (H, W, 3).

    MMSegmentation's visualizer copies the layout of the image that it gets.
    """
    add_datasample = SegLocalVisualizer.add_datasample

    @functools.wraps(add_datasample)
    def wrapper(
        self: SegLocalVisualizer, name: str, image: np.ndarray, *args: Any, **kwargs: Any
    ) -> None:
        add_datasample(self, name, np.ascontiguousarray(image), *args, **kwargs)

    SegLocalVisualizer.add_datasample = wrapper
