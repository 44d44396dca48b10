from .focus import focus_of_queries, record_focus, save_focus
from .overlay import overlay, save_predictions

__all__ = ['focus_of_queries', 'overlay', 'record_focus', 'save_focus', 'save_predictions']
