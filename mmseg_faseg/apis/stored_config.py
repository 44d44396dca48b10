"""Reads the config that a checkpoint carries, without running it.

MMEngine stores a config as Python text and runs it to read it, which hands the machine to whoever
wrote the checkpoint. What it stores are assignments of literals and ``dict(...)``; reading those
takes no more than a parser.
"""

import ast
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from .checkpoints import read_checkpoint
from .config import apply_options
from .errors import UserError

# What belongs to the run that stored the config.
_OF_THE_RUN = ('work_dir', 'load_from', 'resume', 'launcher')
# What a stored config may import: packages that register parts of models.
_PACKAGES = {'mmseg_faseg', 'mmseg', 'mmdet', 'mmpretrain'}


def load_stored_config(checkpoint: str, options: dict[str, Any] | None = None) -> Config:
    """Reads the config in a checkpoint, as training and ``tools/convert_weights.py`` store it.

    Args:
        checkpoint: The file.
        options: What ``--cfg-options`` gave; see :func:`mmseg_faseg.apis.load_config`.

    Raises:
        UserError: An option does not fit the config, or the checkpoint carries no config, one that
            is more than literals, or one that imports packages other than OpenMMLab's and this one.
    """
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        raise UserError(f'{checkpoint} carries no config: name one before it')
    name = str(Path(checkpoint).with_suffix('.py'))  # what the Runner calls its own copy
    try:
        values = _literals(text)
        kept = {key: value for key, value in values.items() if key not in _OF_THE_RUN}
        cfg = Config(kept, cfg_text=text, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f'the config in {checkpoint} is more than literals ({error}): name a config before it'
        ) from None
    imports = cfg.get('custom_imports') or {}
    modules = imports.get('imports', [])
    for module in [modules] if isinstance(modules, str) else modules:
        if module.split('.')[0] not in _PACKAGES:
            raise UserError(
                f'the config in {checkpoint} imports {module}: name one that you trust before it'
            )
    if imports:
        import_modules_from_strings(**imports)
    return apply_options(cfg, options)


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
                ast.literal_eval(key): _value(value)
                for key, value in zip(node.keys, node.values, strict=True)
            }
        case ast.List():
            return [_value(item) for item in node.elts]
        case ast.Tuple():
            return tuple(_value(item) for item in node.elts)
    return ast.literal_eval(node)


def _named(keyword: ast.keyword) -> bool:
    if keyword.arg is None:
        raise ValueError(f'line {keyword.value.lineno}')
    return True
