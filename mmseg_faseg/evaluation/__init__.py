from .boundary_iou import BoundaryIoUMetric
from .semantic import SemanticMetrics
from .size_iou import SizeIoUMetric

__all__ = ['BoundaryIoUMetric', 'SemanticMetrics', 'SizeIoUMetric']
