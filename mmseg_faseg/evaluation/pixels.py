"""What both metrics count."""

import numpy as np
import torch
from torch import Tensor


def class_map(labels: Tensor) -> np.ndarray:
    """A map (H, W) of class ids, one row or column of pixels included, as an array."""
    return np.atleast_2d(labels.cpu().numpy())


def pixels_by_class(labels: np.ndarray, num_classes: int) -> Tensor:
    """How many pixels each class has, (K,), float64; what is no class is not counted."""
    classes = labels[(labels >= 0) & (labels < num_classes)]
    return torch.from_numpy(np.bincount(classes, minlength=num_classes)).double()
