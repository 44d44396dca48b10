from .focus import focus_of_queries
from .log_hook import FocusLogHook
from .overlay import overlay, save_predictions
from .pictures import save_focus
from .recorder import record
from .segments import paint_segments

__all__ = [
    'FocusLogHook',
    'focus_of_queries',
    'overlay',
    'paint_segments',
    'record',
    'save_focus',
    'save_predictions',
]
