"""FASeg for MMSegmentation. Importing it registers everything and makes checkpoints loadable."""

from . import compat  # isort: skip  before anything of OpenMMLab's
from . import datasets, engine, evaluation, explain, models
from .version import __version__

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'evaluation', 'explain', 'models']
