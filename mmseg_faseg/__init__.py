from . import compat  # noqa: F401  isort: skip  must come before anything of OpenMMLab's
from . import datasets, models  # noqa: F401

__version__ = '0.1.0'
