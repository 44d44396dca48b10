"""Makes ``mmseg_faseg::NAME.py`` a config name that MMEngine understands.

MMEngine's list of packages is closed, and it takes ``package::folder/name.py`` only. Once
``mmseg_faseg`` is imported, our names work in ``_base_``, in ``mmengine.hub.get_config`` and as
CONFIG of our tools::

    _base_ = ['mmseg_faseg::faseg_swin-t_ade20k.py']

MMSegmentation's own tools import the plugin while they read the config's ``custom_imports``, which
comes after ``_base_``: with them, such a ``_base_`` works only where ``mmseg_faseg`` was imported
before, and CONFIG has to be a path, which :func:`config_path` gives.
"""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import mmengine.hub
from mmengine.config import Config

PREFIX = 'mmseg_faseg::'
_CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'


def config_path(name: str) -> Path:
    """Path of one of our configs.

    Args:
        name: Such as ``'mmseg_faseg::faseg_swin-t_ade20k.py'``, with or without the prefix.

    Raises:
        FileNotFoundError: There is no such config; the message lists those there are.
    """
    path = _CONFIGS / name.removeprefix(PREFIX)
    if not path.is_file():
        known = ', '.join(sorted(file.name for file in _CONFIGS.glob('*.py'))) or 'none'
        raise FileNotFoundError(f'mmseg_faseg has no config {name!r}; it has: {known}')
    return path


def register_config_names() -> None:
    """Teaches MMEngine's config reader and hub our names. Calling it twice is harmless."""
    # Once per run and pointless: MMEngine needs it, and setuptools is pinned for it.
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    if getattr(Config._get_cfg_path, 'knows_mmseg_faseg', False):
        return
    Config._get_cfg_path = staticmethod(_with_our_bases(Config._get_cfg_path))
    mmengine.hub.get_config = _with_our_configs(mmengine.hub.get_config)
    # `get_model` looks the function up in the module that defines it.
    mmengine.hub.hub.get_config = mmengine.hub.get_config


def _with_our_bases(get_cfg_path: Callable) -> Callable:
    @functools.wraps(get_cfg_path)
    def wrapper(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            # The second value is the registry in which types without a prefix are looked up.
            return str(config_path(cfg_path)), 'mmseg'
        return get_cfg_path(cfg_path, filename)

    wrapper.knows_mmseg_faseg = True
    return wrapper


def _with_our_configs(get_config: Callable) -> Callable:
    @functools.wraps(get_config)
    def wrapper(cfg_path: str, pretrained: bool = False) -> Config:
        if not cfg_path.startswith(PREFIX):
            return get_config(cfg_path, pretrained)
        if pretrained:
            raise ValueError(f'no trained weights are published for {cfg_path}: pretrained=False')
        return Config.fromfile(config_path(cfg_path))

    return wrapper
