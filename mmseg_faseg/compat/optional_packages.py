"""Keeps the import of OpenMMLab independent of whatever else is installed.

OpenMMLab's packages try some thirty others (``transformers``, ``timm``, ``albumentations``, ...)
and go on without those that are not installed. With today's versions two things stop them: a
package that is there and breaks with another error than ``ImportError``, and MMPretrain's
multimodal models, which define classes from names that ``transformers`` no longer has. So while
OpenMMLab is imported here, a package that breaks counts as one that is missing, and MMPretrain's
multimodal models are left out, which no segmentation model needs. Who needs them imports
``mmpretrain`` before ``mmseg_faseg``: then it is as it comes.
"""

import builtins
import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

_OPEN_MMLAB = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg')
# What registering our parts imports sooner or later, with all that it tries on the way.
_MODULES = (
    'mmengine.runner',
    'mmpretrain.models',
    'mmdet.models',
    'mmdet.visualization',
    'mmseg.models',
    'mmseg.datasets',
    'mmseg.engine',
    'mmseg.evaluation',
    'mmseg.apis',
)


def import_open_mmlab() -> None:
    """Imports OpenMMLab's models, data sets and metrics, whatever else is installed."""
    if 'mmpretrain' not in sys.modules:
        _leave_out_multimodal_models()
    with _broken_count_as_missing():
        for name in _MODULES:
            importlib.import_module(name)
    # What the import system would have done, had it imported this module itself.
    vars(sys.modules['mmpretrain.utils'])['dependency'] = sys.modules['mmpretrain.utils.dependency']


def _leave_out_multimodal_models() -> None:
    """Turns MMPretrain's own switch off; it is read while ``mmpretrain`` is imported."""
    name = 'mmpretrain.utils.dependency'
    package = find_spec('mmpretrain')
    if package is None or package.origin is None:
        return
    loader = SourceFileLoader(name, str(Path(package.origin).with_name('utils') / 'dependency.py'))
    sys.modules[name] = module = ModuleType(name)
    module.__spec__ = spec_from_loader(name, loader)
    loader.exec_module(module)
    vars(module)['WITH_MULTIMODAL'] = False


@contextmanager
def _broken_count_as_missing() -> Iterator[None]:
    """Makes every error of a package that OpenMMLab's modules import an ``ImportError``."""
    plain_import = builtins.__import__

    def guarded_import(name, globals=None, locals=None, fromlist=(), level=0) -> ModuleType:
        importer = (globals or {}).get('__name__') or ''
        package = name.partition('.')[0]
        ours = importer.partition('.')[0] in _OPEN_MMLAB
        if level or not ours or package in _OPEN_MMLAB:
            return plain_import(name, globals, locals, fromlist, level)
        try:
            module = plain_import(name, globals, locals, fromlist, level)
            for attribute in fromlist or ():
                getattr(module, attribute, None)  # some import only now what they offer
        except ImportError:
            raise
        except Exception as error:
            cause = f'{package} is installed, but breaks: {type(error).__name__}: {error}'
            warnings.warn(f'{cause}; going on without what needs it', stacklevel=2)
            raise ImportError(cause) from error
        return module

    builtins.__import__ = guarded_import
    try:
        yield
    finally:
        builtins.__import__ = plain_import
