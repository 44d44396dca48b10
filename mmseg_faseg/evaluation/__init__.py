from .boundary_iou import BoundaryIoUMetric
from .size_iou import SizeIoUMetric

__all__ = ['BoundaryIoUMetric', 'SizeIoUMetric']
