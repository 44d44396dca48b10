"""FASeg for MMSegmentation. Importing it registers everything and makes checkpoints loadable.

The command line alone (:mod:`mmseg_faseg.startup`) does that when it is needed.
"""

from typing import TYPE_CHECKING

from .startup import is_command
from .version import __version__

if TYPE_CHECKING or not is_command():
    from . import compat  # isort: skip  before anything of OpenMMLab's
    from . import datasets, engine, evaluation, explain, models
    from .apis.predictor import Predictor

__all__ = [
    'Predictor',
    '__version__',
    'compat',
    'datasets',
    'engine',
    'evaluation',
    'explain',
    'models',
]
