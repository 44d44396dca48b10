"""Lets MMCV import without its compiled operators, which no wheel has for current PyTorch.

``mmcv-lite`` is mmcv without the module ``mmcv._ext``. All of ``mmcv.ops`` asks that module for its
operators while it is imported, and few models call one: FASeg and Mask2Former call none. Where
``mmcv._ext`` does not import, a stand-in answers for it, and a call of an operator says what to
install.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

from ..errors import UserError
from .versions import compile_command

_NAME = 'mmcv._ext'
_VERSIONS = ('get_compiler_version', 'get_compiling_cuda_version')


def ensure_importable() -> None:
    """Imports mmcv, with the stand-in where its operators are missing or do not load."""
    try:
        importlib.import_module(_NAME)
    except ModuleNotFoundError as error:
        if error.name != _NAME:
            raise
        sys.modules[_NAME] = _StandIn('mmcv was installed without them')
    except ImportError as error:
        cause = f'mmcv was compiled for another PyTorch ({error})'.splitlines()[0]
        warnings.warn(f'going on without the operators of MMCV: {cause}', stacklevel=2)
        sys.modules[_NAME] = _StandIn(cause)


class _StandIn(ModuleType):
    """A module in which every operator's name is there, and every call is refused.

    Args:
        cause: Why the operators are not there.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(_NAME)
        self.__spec__ = ModuleSpec(_NAME, None)  # no loader: MMCV reads that there are no operators
        self._cause = cause

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)
        if name in _VERSIONS:
            return lambda: 'not available'

        def refuse(*args, **kwargs) -> NoReturn:
            raise UserError(
                f"this model calls {name}, one of MMCV's compiled operators, but {self._cause}: "
                f'make env MMCV=compiled, or {compile_command()}'
            )

        return refuse
