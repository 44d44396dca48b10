"""What can be wrong with a config by itself, said before anything of it is built.

Each check is a generator of what it finds in a config and has the check's name.
"""

import copy
import inspect
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    HOOKS,
    LOOPS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    TRANSFORMS,
    VISBACKENDS,
)
from mmengine.runner import Runner

from ...errors import closest, did_you_mean
from .parts import Part, names_known_to, parts_of, scopes_with
from .ranges import RANGES, SEED
from .signatures import Arguments, arguments_of

# Read by MMEngine besides the Runner's arguments, and by us.
_OTHER_KEYS = (
    'data_root',
    'sync_bn',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'runner_type',
    'compile',
    'tta_model',
    'tta_pipeline',
    'custom_imports',
    'skip_checks',
)
KEYS = frozenset([*inspect.signature(Runner).parameters, *_OTHER_KEYS])

# What those who build add to a part's arguments, and what they take out.
_ADDED = {
    LOOPS: {'runner', 'dataloader', 'evaluator'},
    DATA_SAMPLERS: {'dataset', 'seed', 'sampler', 'batch_size'},
    OPTIMIZERS: {'params'},
    PARAM_SCHEDULERS: {'optimizer'},
    OPTIM_WRAPPER_CONSTRUCTORS: {'optim_wrapper_cfg', 'paramwise_cfg'},
    MODEL_WRAPPERS: {'module', 'device_ids'},
    MODELS: {'module'},  # test-time augmentation's
    RUNNERS: KEYS,
    VISBACKENDS: {'save_dir'},
}
_TAKEN_OUT = {
    None: {'num_batch_per_epoch', 'disable_subprocess_warning'},  # of data loaders
    HOOKS: {'priority'},
    LOOPS: {'by_epoch'},
    PARAM_SCHEDULERS: {'convert_to_iter_based', 'epoch_length'},
    OPTIM_WRAPPERS: {'constructor', 'paramwise_cfg'},
}
# How alike names have to be where one that is not known may be right all the same.
_ALIKE, _VERY_ALIKE, _MISSPELLED = 0.8, 0.87, 0.9
_SLIP = 2  # letters too many or too few
_WORDS = {'dataset': 'data set', 'model': 'part of a model'}
_NO_END = 1_000_000_000  # of a schedule that ends with training
_SHOWN = 100  # characters of values


def config_keys(cfg: Config | dict) -> Iterator[str]:
    """No key of the config is almost one that a run reads."""
    for key in cfg:
        meant = None if key in KEYS or key.startswith('_') else _slip_of(key, KEYS, _MISSPELLED)
        if meant:
            yield (
                f'{key}: nothing reads it, did you mean {meant!r}? If it is a variable of the '
                "config's own, skip_checks = ['config_keys']"
            )


def types(cfg: Config | dict) -> Iterator[str]:
    """Every type is that of a part which is known."""
    for part in parts_of(cfg):
        if part.kind is None:
            yield from _unknown_type(part)


def arguments(cfg: Config | dict) -> Iterator[str]:
    """Parts get arguments that they take, and all that they need."""
    for part in parts_of(cfg):
        if part.kind is not None:
            yield from _wrong_arguments(part, arguments_of(part.kind))


def numbers(cfg: Config | dict) -> Iterator[str]:
    """Numbers of batches, iterations and the like are in the range in which they mean something."""
    for part in parts_of(cfg):
        if part.kind is not None:
            yield from _out_of_range(part)
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and seed not in SEED:
        yield f'randomness.seed takes {SEED}, got {seed!r}'


def values(cfg: Config | dict) -> Iterator[str]:
    """Transforms, the optimizer and its schedules can be built from what they get."""
    more: dict[Any, dict[str, Any]] = {  # by registry
        TRANSFORMS: {},
        OPTIMIZERS: dict(params=[torch.nn.Parameter(torch.zeros(1))]),
    }
    reasons: dict[str, str] = {}
    for part in parts_of(cfg):
        registry: Any = part.registry
        if registry not in more or not part.certain or not _is_in_order(part):
            continue
        try:
            with registry.switch_scope_and_registry(part.scope) as place:
                built = place.build(copy.deepcopy(part.cfg), default_args=more[registry])
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            reasons[part.key] = f'{_called(part)} cannot be built: {_reason(error)}'
        except Exception:  # of what this machine lacks, perhaps: whoever needs it says so
            continue
        else:
            if registry is OPTIMIZERS:
                more[PARAM_SCHEDULERS] = dict(optimizer=built, end=_NO_END, epoch_length=1)
    level = cfg.get('log_level')
    if isinstance(level, str) and level not in logging.getLevelNamesMapping():
        yield f'log_level takes DEBUG, INFO, WARNING or ERROR, got {level!r}'
    for key, reason in reasons.items():
        if not any(inner.startswith(f'{key}.') for inner in reasons):
            yield f'{key}: {reason}'


def _slip_of(name: str, known: Iterable[str], alike: float) -> str | None:
    """The known name of which ``name`` is a misspelling, rather than another name."""
    near = [one for one in known if one[:1] == name[:1] and abs(len(one) - len(name)) <= _SLIP]
    return closest(name, near, alike)


def _unknown_type(part: Part) -> Iterator[str]:
    registry: Any = part.registry
    what = _WORDS.get(registry.name, registry.name.replace('_', ' '))
    where = f'{part.key}.type' if 'type' in part.cfg else part.key
    if not isinstance(part.type, str):
        yield f'{where} is the name of a {what} or a class, got {part.type!r}'
        return
    scopes = scopes_with(registry, part.type)
    if scopes and not part.certain:  # whoever builds it may change the scope
        return
    known = scopes or names_known_to(registry, part.type, part.scope)
    meant = closest(part.type, known) if part.certain else _slip_of(part.type, known, _VERY_ALIKE)
    meant = scopes[0] if scopes else meant
    package, dot, _ = part.type.rpartition('.')
    hint = f', did you mean {meant!r}?' if meant else ''
    if part.certain or meant or (dot and not known):
        missing = f'; is {package} installed?' if dot and not known else ''
        yield f'{where}: no {what} is called {part.type!r}{hint or missing}'


def _wrong_arguments(part: Part, taken: Arguments) -> Iterator[str]:
    name = getattr(part.kind, '__name__', str(part.kind))
    given = {key for key in part.cfg if key not in ('type', '_scope_')}
    given -= _TAKEN_OUT.get(part.registry, set())
    unknown = sorted(given - taken.names)
    own = taken.names - _ADDED.get(part.registry, set())
    for key in unknown:
        if part.certain and not taken.more:
            hint = did_you_mean(key, own) or f'; it takes {", ".join(sorted(own)) or "none"}'
        else:
            meant = _slip_of(key, own, _VERY_ALIKE if taken.more else _ALIKE)
            hint = f', did you mean {meant!r}?' if meant else ''
        if hint:
            yield f'{part.key}: {name} takes no {key!r}{hint}'
    missing = (taken.required & own) - given
    if part.certain and not unknown and missing and inspect.isclass(part.kind):
        yield f'{part.key}: {name} needs {", ".join(sorted(missing))}'


def _out_of_range(part: Part) -> Iterator[str]:
    for base, ranges in RANGES.items():
        if inspect.isclass(part.kind) and issubclass(part.kind, base):
            for name, range_ in ranges.items():
                value = part.cfg.get(name)
                if value is not None and value not in range_:
                    yield f'{part.key}.{name} takes {range_}, got {value!r}'


def _is_in_order(part: Part) -> bool:
    """Whether other checks find nothing."""
    if part.kind is None:
        return False
    found = (*_wrong_arguments(part, arguments_of(part.kind)), *_out_of_range(part))
    return not found


def _called(part: Part) -> str:
    given = ', '.join(f'{k}={v!r}' for k, v in part.cfg.items() if k not in ('type', '_scope_'))
    return f'{part.type}({given if len(given) <= _SHOWN else given[:_SHOWN] + "..."})'


def _reason(error: Exception) -> str:
    """The first line of an error; what did not hold where an assertion says nothing."""
    text = str(error).strip() or traceback.extract_tb(error.__traceback__)[-1].line
    return ' '.join((text or type(error).__name__).splitlines()[0].split())


Check = Callable[[Config | dict], Iterator[str]]
REFUSED: tuple[Check, ...] = (config_keys, types, arguments, numbers, values)
