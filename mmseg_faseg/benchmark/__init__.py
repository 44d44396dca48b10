from .comparison import Plan, compare
from .tasks import TASKS

__all__ = ['TASKS', 'Plan', 'compare']
