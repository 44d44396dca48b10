from .focus import focus_of_queries
from .legend import with_legend
from .log_hook import FocusLogHook
from .overlay import overlay, save_predictions
from .palette import default_palette
from .pictures import save_focus
from .recorder import record
from .segments import paint_segments

__all__ = [
    'FocusLogHook',
    'default_palette',
    'focus_of_queries',
    'overlay',
    'paint_segments',
    'record',
    'save_focus',
    'save_predictions',
    'with_legend',
]
