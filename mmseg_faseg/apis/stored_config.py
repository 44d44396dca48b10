"""Reads the config that a checkpoint carries, without running what its author may have put there.

MMEngine stores a config as Python text and runs it to read it, which hands the machine to whoever
wrote the checkpoint. What it stores are assignments of literals and ``dict(...)``; reading those
takes no more than a parser. Building from it could still call any function by its dotted name,
where a registry knows no such type: :func:`only_registered` stops that.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmengine.registry.registry as mmengine_registry
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..checkpoints.read import read_checkpoint
from ..errors import UserError
from .config import apply_options

# What belongs to the run that stored the config.
_OF_THE_RUN = ('work_dir', 'load_from', 'resume', 'launcher')
# What a stored config may import: packages that register parts of models.
_PACKAGES = {'mmseg_faseg', 'mmseg', 'mmdet', 'mmpretrain'}
# Where training took weights from: of no use to who has the trained ones.
_WEIGHTS = ('checkpoint', 'pretrained', 'mask2former')


def load_stored_config(checkpoint: str, options: dict[str, Any] | None = None) -> Config:
    """Reads the config in a checkpoint, as training and ``tools/convert_weights.py`` store it.

    Nothing in it runs. To build from a config of unknown origin, use :func:`only_registered`.

    Args:
        checkpoint: The file.
        options: What ``--cfg-options`` gave; see :func:`mmseg_faseg.apis.load_config`.

    Raises:
        UserError: An option does not fit the config, or the checkpoint carries no config, one that
            is more than literals, names addresses, or imports packages other than OpenMMLab's and
            this one.
    """
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        raise UserError(f'{checkpoint} carries no config: name one before it')
    name = str(Path(checkpoint).with_suffix('.py'))  # what the Runner calls its own copy
    try:
        values = _local(_literals(text))
        kept = {key: value for key, value in values.items() if key not in _OF_THE_RUN}
        cfg = Config(kept, cfg_text=text, filename=name)
        _import(cfg.get('custom_imports') or {})
    except UserError as error:
        raise UserError(
            f'the config in {checkpoint} {error}: name one that you trust before it'
        ) from None
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise UserError(
            f'the config in {checkpoint} is more than literals ({error}): name one before it'
        ) from None
    for key in ('model', 'test_dataloader'):
        if not isinstance(cfg.get(key), dict):
            raise UserError(f'the config in {checkpoint} has no {key}: name one before it')
    return apply_options(cfg, options)


@contextmanager
def only_registered() -> Iterator[None]:
    """Lets configs build only what is registered; MMEngine would import any other type by name."""
    by_name = mmengine_registry.get_object_from_string
    mmengine_registry.get_object_from_string = lambda name: None
    try:
        yield
    finally:
        mmengine_registry.get_object_from_string = by_name


def _import(custom_imports: dict) -> None:
    modules = dict(custom_imports).get('imports', [])
    for module in [modules] if isinstance(modules, str) else modules:
        if module.split('.')[0] not in _PACKAGES:
            raise UserError(f'imports {module}')
        try:
            import_modules_from_strings(module)
        except ImportError as error:
            raise UserError(f'imports {module} ({error})') from None


def _local(node: Any, key: str = '') -> Any:
    """Values without addresses, from which MMEngine would fetch files."""
    if isinstance(node, dict):
        return {name: _local(child, name) for name, child in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_local(child, key) for child in node)
    if isinstance(node, str) and '://' in node:
        if key not in _WEIGHTS:
            raise UserError(f'names an address, {key}={node!r}')
        return None
    return node


def _literals(text: str) -> dict[str, Any]:
    values = {}
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                values[name] = _value(statement.value)
            case _:
                raise ValueError(f'line {statement.lineno}')
    return values


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            return {keyword.arg: _value(keyword.value) for keyword in keywords if _named(keyword)}
        case ast.Dict():
            return {
                ast.literal_eval(_key(key)): _value(value)
                for key, value in zip(node.keys, node.values, strict=True)
            }
        case ast.List():
            return [_value(item) for item in node.elts]
        case ast.Tuple():
            return tuple(_value(item) for item in node.elts)
    return ast.literal_eval(node)


def _key(node: ast.expr | None) -> ast.expr:
    if node is None:
        raise ValueError('**')
    return node


def _named(keyword: ast.keyword) -> bool:
    if keyword.arg is None:
        raise ValueError(f'line {keyword.value.lineno}')
    return True
