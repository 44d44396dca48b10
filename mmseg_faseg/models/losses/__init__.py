"""Targets, matching and losses of all predictions together, with MMDetection's values."""

from .mask_losses import MaskLosses
from .masks import MaskProduct, MaskTensors
from .targets import Targets, from_instances, from_label_maps, from_panoptic

__all__ = [
    'MaskLosses',
    'MaskProduct',
    'MaskTensors',
    'Targets',
    'from_instances',
    'from_label_maps',
    'from_panoptic',
]
