"""Makes ``mmseg_faseg::NAME.py`` a config name that MMEngine understands, and bases quick to find.

MMEngine's list of packages is closed, and it takes ``package::folder/name.py`` only. Once
``mmseg_faseg`` is imported, our names work wherever a config file is asked for (``init_model``,
``init_detector``, ``MMSegInferencer``, ``Config.fromfile``, CONFIG of our tools), in ``_base_``,
and in ``mmengine.hub.get_config`` and ``get_model``::

    _base_ = ['mmseg_faseg::faseg_swin-t_ade20k.py']

MMSegmentation's own tools import the plugin while they read the config's ``custom_imports``, which
comes after ``_base_``: with them, such a ``_base_`` works only where ``mmseg_faseg`` was imported
before, and CONFIG has to be a path, which :func:`config_path` gives.
"""

import functools
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import mmengine.hub
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.infer import BaseInferencer
from mmengine.registry import MODELS, DefaultScope
from mmengine.utils import is_installed
from torch import nn

PREFIX = 'mmseg_faseg::'
_CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'
_SCOPE = 'mmseg'  # the registry in which our configs' types without a prefix are looked up


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


@functools.cache  # once is enough
def register_config_names() -> None:
    """Teaches MMEngine's config reader, hub and inferencers our names."""
    # Once per run and pointless: MMEngine needs it, and setuptools is pinned for it.
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    Config.fromfile = staticmethod(_with_our_files(Config.fromfile))
    Config._get_cfg_path = staticmethod(_with_found_bases(Config._get_cfg_path))
    if not is_installed(config_utils.MODULE2PACKAGE['mmseg']):  # the fork's has another name
        config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'
    # The hub reads a package's metafiles, some fifty of YAML, for each of its configs.
    config_utils.load = functools.cache(config_utils.load)
    mmengine.hub.get_config = _with_our_configs(mmengine.hub.get_config)
    mmengine.hub.get_model = _with_our_models(mmengine.hub.get_model)
    # `get_model` looks the function up in the module that defines it.
    mmengine.hub.hub.get_config = mmengine.hub.get_config
    mmengine.hub.hub.get_model = mmengine.hub.get_model
    BaseInferencer._load_model_from_metafile = _with_our_names(
        BaseInferencer._load_model_from_metafile
    )


def _is_ours(name: object) -> bool:
    return isinstance(name, str) and name.startswith(PREFIX)


def _with_our_files(fromfile: Callable) -> Callable:
    @functools.wraps(fromfile)
    def wrapper(filename: str | Path, *args, **kwargs) -> Config:
        path = config_path(str(filename)) if _is_ours(filename) else filename
        return fromfile(path, *args, **kwargs)

    return wrapper


def _with_found_bases(get_cfg_path: Callable) -> Callable:
    """Gives the path that MMEngine gives, without parsing all metafiles of a package for it."""

    @functools.wraps(get_cfg_path)
    def wrapper(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if _is_ours(cfg_path):
            return str(config_path(cfg_path)), _SCOPE
        package, _, name = cfg_path.partition('::')
        spec = find_spec(package) if package in config_utils.MODULE2PACKAGE else None
        for folder in (spec and spec.submodule_search_locations) or []:
            path = Path(folder, '.mim', 'configs', name)
            if path.is_file():
                return str(path), package
        return get_cfg_path(cfg_path, filename)

    return wrapper


def _with_our_configs(get_config: Callable) -> Callable:
    @functools.wraps(get_config)
    def wrapper(cfg_path: str, pretrained: bool = False) -> Config:
        if not _is_ours(cfg_path):
            return get_config(cfg_path, pretrained)
        if pretrained:
            raise ValueError(f'no trained weights are published for {cfg_path}: pretrained=False')
        return Config.fromfile(cfg_path)

    return wrapper


def _with_our_models(get_model: Callable) -> Callable:
    @functools.wraps(get_model)
    def wrapper(cfg_path: str, pretrained: bool = False, **kwargs) -> nn.Module:
        if not _is_ours(cfg_path):
            return get_model(cfg_path, pretrained, **kwargs)
        cfg = mmengine.hub.get_config(cfg_path, pretrained)
        with DefaultScope.overwrite_default_scope(_SCOPE):
            return MODELS.build(cfg.model, default_args=kwargs)

    return wrapper


def _with_our_names(load_model: Callable) -> Callable:
    @functools.wraps(load_model)
    def wrapper(self: BaseInferencer, model: str) -> tuple[Config, str | None]:
        if _is_ours(model):
            return Config.fromfile(model), None
        return load_model(self, model)

    return wrapper
