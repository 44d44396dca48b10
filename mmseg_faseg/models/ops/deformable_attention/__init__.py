"""Multi-scale deformable attention: the module's arithmetic, and how its samples are summed."""

from .attention import check_backend, choose_backend, deformable_self_attention
from .levels import Geometry

__all__ = ['Geometry', 'check_backend', 'choose_backend', 'deformable_self_attention']
