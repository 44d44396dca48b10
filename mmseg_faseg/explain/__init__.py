from .focus import focus_of_queries, record_focus, save_focus
from .legend import with_legend
from .overlay import overlay, save_predictions
from .palette import default_palette
from .segments import paint_segments

__all__ = [
    'default_palette',
    'focus_of_queries',
    'overlay',
    'paint_segments',
    'record_focus',
    'save_focus',
    'save_predictions',
    'with_legend',
]
