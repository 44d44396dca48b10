"""Multi-scale deformable attention: the module's arithmetic, and how its samples are summed."""

from .attention import DeformableSelfAttention, check_backend, choose_backend
from .levels import Geometry

__all__ = ['DeformableSelfAttention', 'Geometry', 'check_backend', 'choose_backend']
