"""Reads the config that a checkpoint carries, without running what its author may have put there.

MMEngine stores a config as Python text and runs it to read it, which hands the machine to whoever
wrote the checkpoint. What it stores are assignments of literals and ``dict(...)``; reading those
takes no more than a parser. Of what they say, a model and its test data are taken, as far as
:mod:`mmseg_faseg.apis.stored_types` allows; all else is ours.
"""

import ast
import warnings
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..checkpoints.read import read_checkpoint
from ..errors import UserError
from . import stored_types
from .checkpoint import find_checkpoint
from .config import apply_options, load_config, move_data

# What belongs to the run that stored the config.
_OF_THE_RUN = ('work_dir', 'load_from', 'resume', 'launcher')
_INSTEAD = 'name its config file, or use --trust if you know where the file is from'
_MAX_TEXT = 1_000_000  # ours have 20,000 characters
_METHODS = 'mmseg_faseg::_base_/{}/methods/{}.py'


def load_stored_config(
    checkpoint: str, options: dict[str, Any] | None = None, *, trust: bool = False
) -> Config:
    """Reads the config in a checkpoint, as training and ``tools/convert_weights.py`` store it.

    It describes a model, its test data and metrics. How it was trained is not read: losses, hooks,
    optimizer, where it wrote.

    Args:
        checkpoint: The file, or the work dir of a run.
        options: What ``--cfg-options`` gave; see :func:`mmseg_faseg.apis.load_config`.
        trust: Take the whole config as it is written. It is still read as literals, but what is
            built from it can run code, and read and write anywhere.

    Raises:
        UserError: An option does not fit the config, or the checkpoint carries no config, one that
            is more than literals, or one with something that is not on the list.
    """
    checkpoint = find_checkpoint(checkpoint)
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        raise UserError(f'{checkpoint} carries no config: name its config file')
    name = str(Path(checkpoint).with_suffix('.py'))  # what the Runner calls its own copy
    try:
        values = _literals(text)
        for key in ('model', 'test_dataloader'):
            if not isinstance(values.get(key), dict):
                raise UserError(f'has no {key}')
        kept = _as_written(values) if trust else _allowed(values)
        cfg = Config(kept, cfg_text=text, filename=name)
    except UserError as error:
        raise UserError(f'the config in {checkpoint} {error}: {_INSTEAD}') from None
    except Exception as error:  # text of any kind can end in any error
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(
            f'the config in {checkpoint} is more than literals ({reason}): name its config file'
        ) from None
    return apply_options(cfg, options)


def _as_written(values: dict[str, Any]) -> dict[str, Any]:
    imports = values.get('custom_imports') or {}
    try:
        import_modules_from_strings(**imports)
    except ImportError as error:
        raise UserError(f'imports what is not there ({error})') from None
    return {key: value for key, value in values.items() if key not in _OF_THE_RUN}


def _allowed(values: dict[str, Any]) -> dict[str, Any]:
    """A config whose model, test data and metrics are the file's, and all else ours."""
    check = stored_types.check_part
    model = check(values['model'], 'model', stored_types.MODEL)
    if not isinstance(model.get('backbone'), dict) or 'type' not in model:
        raise UserError('has no model with a type and a backbone')
    _add_losses(model)
    loader = stored_types.check_loader(values['test_dataloader'], 'test_dataloader')
    detects = not {'panoptic_head', 'bbox_head'}.isdisjoint(model)
    runtime = 'default_runtime_detection' if detects else 'default_runtime'
    painter = 'DetVisualizationHook' if detects else 'SegVisualizationHook'
    cfg = dict(load_config(f'mmseg_faseg::_base_/{runtime}.py').items())
    cfg.update(
        model=model,
        test_dataloader=loader,
        test_cfg=dict(type='TestLoop'),
        default_hooks=dict(visualization=dict(type=painter)),
    )
    if detects:
        loader['dataset']['test_mode'] = True  # no image is left out
    tables = dict(
        test_pipeline=stored_types.TRANSFORM,
        test_evaluator=stored_types.METRIC,
        tta_pipeline=stored_types.TRANSFORM,
        tta_model=stored_types.TTA_MODEL,
    )
    cfg |= {key: check(values[key], key, table) for key, table in tables.items() if key in values}
    if loader['dataset']['type'].split('.')[-1] in ('ToyScenesDataset', 'ToyPanopticDataset'):
        move_data(cfg, [loader['dataset']], 'data/toy_scenes')  # they write files there
    return cfg


def _add_losses(model: dict) -> None:
    """Those of the published models: heads are not built without, and testing computes none."""
    for name, kinds, folder, method in (
        ('decode_head', ('FASegHead', 'Mask2FormerHead'), 'models', 'mask2former'),
        ('panoptic_head', ('FASegPanopticHead', 'Mask2FormerHead'), 'detectors', 'mask2former'),
        ('bbox_head', ('PanopticSegFormerHead',), 'detectors', 'panoptic-segformer'),
    ):
        head = model.get(name)
        if isinstance(head, dict) and str(head.get('type')).split('.')[-1] in kinds:
            published = load_config(_METHODS.format(folder, method)).model[name].to_dict()
            head |= {key: loss for key, loss in published.items() if key.startswith('loss_')}
            if method == 'mask2former':
                head['loss_cls']['class_weight'] = [1.0] * _count_classes(head, name) + [0.1]


def _count_classes(head: dict, name: str) -> int:
    """Of a head, things and stuff together."""
    keys = [
        key for key in ('num_classes', 'num_things_classes', 'num_stuff_classes') if key in head
    ]
    for key in keys or ['num_classes']:
        if type(head.get(key)) is not int or not 0 <= head[key] < 10_000:
            raise UserError(f'has {name}.{key}={head.get(key)!r}')
    return sum(head[key] for key in keys)


def _literals(text: str) -> dict[str, Any]:
    if len(text) > _MAX_TEXT:
        raise UserError(f'has {len(text):,} characters')
    with warnings.catch_warnings(action='ignore'):  # about the text of others
        statements = ast.parse(text).body
    values = {}
    for statement in statements:
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
