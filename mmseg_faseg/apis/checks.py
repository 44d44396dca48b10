"""Looks for files that a run will need, before it starts and writes anything."""

import os
import re
from collections.abc import Iterable, Iterator

from mmengine import fileio
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import checkpoint as mmengine_checkpoint

from ..compat.fetching import fetch
from ..engine.data_roots import check_data_roots
from ..errors import UserError
from ..models.backbones import timm_weights


def check_data(cfg: Config, dataloaders: Iterable[str]) -> None:
    """Lists the files of the data sets and metrics that a run uses.

    Args:
        cfg: The config of the run.
        dataloaders: Such as ``['test_dataloader']``.

    Raises:
        UserError: Names the first folder or file that is missing or empty, and how to give another
            one.
    """
    dataloaders = list(dataloaders)
    variables = [name for name in cfg.env_variables if name.endswith('_ROOT')]
    by_environment = ''.join(f' or {name}=/path in the environment' for name in variables)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        try:
            check_data_roots(*(cfg[loader].dataset for loader in dataloaders))
            for loader in dataloaders:
                _check_files_of_metrics(cfg, loader.replace('dataloader', 'evaluator'))
        except FileNotFoundError as error:
            raise UserError(f'{error} Use --cfg-options data_root=/path{by_environment}.') from None


def _check_files_of_metrics(cfg: Config, evaluator: str) -> None:
    """Metrics of COCO read the truth themselves."""
    metrics = cfg.get(evaluator) or []
    for metric in metrics if isinstance(metrics, list | tuple) else [metrics]:
        for key in ('ann_file', 'seg_prefix'):
            path = metric.get(key)
            if path and not fileio.exists(path, backend_args=metric.get('backend_args')):
                raise FileNotFoundError(
                    f'{evaluator}: {metric["type"]} has {key}={path!r}, which is not there.'
                )


def check_pretrained(cfg: Config) -> None:
    """Sees to it that the weights which parts of the model start from are on this machine.

    Those given by address are fetched to PyTorch's folder of checkpoints, and those of timm to the
    Hugging Face hub's, by the first process of each machine.

    Raises:
        UserError: Names the file, where to put it, and how to start without it.
    """
    whole = cfg.model.get('mask2former')  # replaces those of the backbone
    weights = [('model.mask2former', whole)] if whole else pretrained_weights(cfg.model, 'model')
    for key, name in weights:
        without = f'start without: --cfg-options {key}=None'
        if name.startswith((timm_weights.PACKAGE, timm_weights.HUB)):
            _locate(key, name, without)
            continue
        url = _address_of(name)
        if url is None:
            if '://' not in name and not os.path.isfile(os.path.expanduser(name)):
                raise UserError(
                    f'{key}: there is no file {name}: put the weights there, or {without}'
                )
            continue
        try:
            fetch(url)
        except UserError as error:
            raise UserError(f'{key}: {error}, or {without}') from None


def pretrained_weights(node: object, key: str) -> Iterator[tuple[str, str]]:
    """Pairs of config key and checkpoint of all ``Pretrained`` initialisations in a config."""
    children: Iterable[tuple[object, object]] = ()
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    if isinstance(node, dict) and node.get('type') == 'Pretrained' and 'checkpoint' in node:
        # A list of initialisations is given up as a whole.
        yield re.sub(r'\.\d+$', '', key), node['checkpoint']
    for name, child in children:
        yield from pretrained_weights(child, f'{key}.{name}')


def _locate(key: str, name: str, without: str) -> None:
    if int(os.environ.get('LOCAL_RANK', 0)) > 0:
        return
    try:
        timm_weights.locate(name)
    except UserError as error:
        raise UserError(f'{key}: {error}, or {without}') from None


def _address_of(name: str) -> str | None:
    """The http address of a checkpoint; None for a local file and for other stores."""
    scheme, separator, rest = name.partition('://')
    if not separator or scheme in ('http', 'https'):
        return name if separator else None
    tables = {
        'torchvision': mmengine_checkpoint.get_torchvision_models,
        'open-mmlab': mmengine_checkpoint.get_external_models,
        'openmmlab': mmengine_checkpoint.get_external_models,
        'mmcls': mmengine_checkpoint.get_mmcls_models,
    }
    if scheme not in tables:
        return None
    addresses = tables[scheme]()
    if rest not in addresses:
        raise UserError(f'MMEngine knows no weights {name}')
    return addresses[rest]
