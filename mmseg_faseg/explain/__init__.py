from .focus import focus_of_queries, record_focus, save_focus
from .overlay import overlay, save_predictions
from .segments import paint_segments

__all__ = [
    'focus_of_queries',
    'overlay',
    'paint_segments',
    'record_focus',
    'save_focus',
    'save_predictions',
]
