"""Our configs, each read once per process."""

import copy
import functools

from mmengine.config import Config
from mmengine.registry import init_default_scope

from tests.helpers.tools import REPOSITORY


def load(name: str) -> Config:
    """A copy, to change at will, of ``configs/{name}.py``; its default scope becomes the current.

    What the environment says is read once, too.
    """
    cfg = copy.deepcopy(_read(name))
    if 'default_scope' in cfg:
        init_default_scope(cfg.default_scope)
    return cfg


@functools.cache
def _read(name: str) -> Config:
    return Config.fromfile(REPOSITORY / 'configs' / f'{name}.py')
