"""Matching and losses of all predictions together, with MMDetection's values."""

from .mask_logits import MaskProduct
from .mask_loss_head import MaskLossHead

__all__ = ['MaskLossHead', 'MaskProduct']
