"""Reads a config and applies what the command line says about it."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from ..engine.checks.config import KEYS
from ..errors import UserError, closest, did_you_mean

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class OptionsAction(argparse.Action):
    """Reads ``KEY=VALUE`` arguments with :func:`parse_options`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds the options to ``namespace``."""
        before = getattr(namespace, self.dest) or {}
        setattr(namespace, self.dest, before | parse_options(values))


def parse_options(arguments: Sequence[str] | None) -> dict[str, Any]:
    """Reads what follows ``--cfg-options`` by MMEngine's rules.

    Args:
        arguments: ``KEY=VALUE`` strings, such as ``['model.keep_scores=True', 'crop_size=64,64']``.

    Returns:
        Dotted keys and values, here ``{'model.keep_scores': True, 'crop_size': [64, 64]}``.

    Raises:
        UserError: Quotes what cannot be read.
    """
    pairs = [argument.partition('=') for argument in arguments or ()]
    wrong = [repr(''.join(pair)) for pair in pairs if not pair[0] or not pair[1]]
    if wrong:
        raise UserError(f'--cfg-options takes KEY=VALUE, got {", ".join(wrong)}')
    try:
        return {key: DictAction._parse_iterable(value) for key, _, value in pairs}
    except AssertionError as error:
        raise UserError(f'--cfg-options: {error}') from None
    except RecursionError:  # MMEngine's parser comes to no end
        texts = ' '.join(repr(argument) for argument in arguments or ())
        raise UserError(f'--cfg-options: brackets or commas without an order in {texts}') from None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Gives ``--cfg-options`` to a program that reads arguments after importing this package."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of the config; lists as key="[a,b]" or key=a,b; '
        'data_root=PATH moves all data sets',
    )


def load_config(name: str, options: dict[str, Any] | None = None) -> Config:
    """Reads a config and merges options into it.

    Args:
        name: Path of a config, or one of an OpenMMLab package by name:
            ``mmseg_faseg::faseg_swin-t_ade20k.py``, ``mmseg::mask2former/...py``.
        options: What ``--cfg-options`` gave: dotted keys and values. ``data_root`` replaces the
            data root of every data set, also where metrics read files below it.

    Raises:
        UserError: There is no such config, or an option does not fit it.
    """
    try:
        # The path of package::folder/name.py, as in `_base_`.
        cfg = Config.fromfile(Config._get_cfg_path(name, '')[0] if '::' in name else name)
    except OSError as error:
        raise UserError(f'config {name}: {error}') from None
    except Exception as error:  # a config is a program
        raise UserError(f'config {name}: {type(error).__name__}: {error}') from error
    return apply_options(cfg, options)


def apply_options(cfg: Config, options: dict[str, Any] | None) -> Config:
    """Merges what ``--cfg-options`` gave into a config and returns it.

    Raises:
        UserError: An option does not fit the config.
    """
    options = options or {}
    _check_option_names(cfg, options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f'--cfg-options {_spelled(options)}: {error.args[0]}') from None
    if 'data_root' in options:
        loaders = (cfg.get(name) for name in DATALOADERS)
        datasets = [dataset for loader in loaders for dataset in datasets_of(loader)]
        move_data(cfg, datasets, options['data_root'])
    return cfg


def move_data(cfg: Config | dict[str, Any], datasets: list[dict], data_root: str) -> None:
    """Gives data sets of a config another root, also where metrics read files below the old one."""
    old_roots = {f'{dataset.get("data_root")}/' for dataset in datasets}
    for dataset in datasets:
        dataset['data_root'] = data_root
    for name in ('val_evaluator', 'test_evaluator'):
        metrics = cfg.get(name) or []
        for metric in metrics if isinstance(metrics, list) else [metrics]:
            for key, value in metric.items():
                old_root = next((root for root in old_roots if str(value).startswith(root)), None)
                if old_root is not None:
                    metric[key] = f'{data_root}/{value.removeprefix(old_root)}'


def datasets_of(dataloader: ConfigDict | None) -> Iterator[ConfigDict]:
    """Data sets of a data loader's config, those inside wrappers included."""
    waiting = [dataloader.get('dataset')] if dataloader else []
    while waiting:
        dataset = waiting.pop()
        if not isinstance(dataset, dict):
            continue
        inner = dataset.get('datasets', [dataset['dataset']] if 'dataset' in dataset else [])
        waiting.extend(inner)
        if not inner:
            yield dataset


def _check_option_names(cfg: Config, options: dict[str, Any]) -> None:
    """Finds keys that MMEngine would add or change and nobody would read, and values for dicts."""
    known = {*cfg.keys(), *KEYS}
    known.discard('backbone_settings')  # merged into the model already: nobody reads it any more
    wrong = []
    for option, value in options.items():
        *parents, last = option.split('.')
        first, _, rest = option.partition('.')
        if first not in known:
            wrong.append(f'{option}: the config has no {first!r}{did_you_mean(first, known)}')
            continue
        copies = [] if first in KEYS else list(_places_of(cfg.get(first), cfg))
        if copies:
            instead = ' and '.join('.'.join(filter(None, (place, rest))) for place in copies)
            wrong.append(f'{option}: a run does not read {first!r} but copies of it, {instead}')
        node: Any = cfg
        for parent in parents:
            meant = closest(parent, node, 0.8) if isinstance(node, dict) else None
            if meant and parent not in node:
                wrong.append(f'{option}: the config has no {parent!r}, did you mean {meant!r}?')
            node = node.get(parent) if isinstance(node, dict | Config) else None
        before = node.get(last) if isinstance(node, dict | Config) else None
        if isinstance(before, dict) and not isinstance(value, dict | NoneType):
            wrong.append(
                f'{option} is a dict, got {value!r}: set its entries, as {option}.KEY=VALUE'
            )
    if wrong:
        raise UserError(f'--cfg-options: {"; ".join(wrong)}')


def _places_of(value: Any, cfg: Config) -> Iterator[str]:
    """Keys of what a run reads that hold the same list or dict: made from a variable like it."""
    if not value or not isinstance(value, dict | list | tuple):
        return
    waiting = [(key, cfg[key]) for key in cfg if key in KEYS]
    while waiting:
        key, node = waiting.pop(0)
        if node == value:
            yield key
            continue
        inner: Iterable[tuple[Any, Any]] = node.items() if isinstance(node, dict) else ()
        if isinstance(node, list | tuple):
            inner = enumerate(node)
        waiting += [(f'{key}.{name}', child) for name, child in inner]


def _spelled(options: dict[str, Any]) -> str:
    return ' '.join(f'{key}={value}' for key, value in options.items())


def work_dir_of(cfg: Config, work_dir: str | None) -> str:
    """Where a run writes: the argument, else what the config says, else named after the config."""
    return work_dir or cfg.get('work_dir') or str(Path('work_dirs', Path(cfg.filename).stem))
