from .schedule import check
from .settings import KINDS, Settings

__all__ = ['KINDS', 'Settings', 'check']
