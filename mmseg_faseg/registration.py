"""What the command line imports before a verb runs: it registers everything."""

from . import compat  # isort: skip  before anything of OpenMMLab's
from . import datasets, engine, evaluation, explain, models

__all__ = ['compat', 'datasets', 'engine', 'evaluation', 'explain', 'models']
