"""Matching and losses of all predictions together, with MMDetection's values."""

from .mask_losses import MaskLossHead
from .masks import MaskProduct

__all__ = ['MaskLossHead', 'MaskProduct']
