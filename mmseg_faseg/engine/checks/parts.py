"""Which part stands where in a config, and in which registry its type is looked up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    FUNCTIONS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    WEIGHT_INITIALIZERS,
    Registry,
)
from torch.utils.data import DataLoader

from ...errors import closest

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_TOP = {
    'model': MODELS,
    'tta_model': MODELS,
    'train_cfg': LOOPS,
    'val_cfg': LOOPS,
    'test_cfg': LOOPS,
    'optim_wrapper': OPTIM_WRAPPERS,
    'param_scheduler': PARAM_SCHEDULERS,
    'default_hooks': HOOKS,
    'custom_hooks': HOOKS,
    'val_evaluator': METRICS,
    'test_evaluator': METRICS,
    'tta_pipeline': TRANSFORMS,
    'visualizer': VISUALIZERS,
    'log_processor': LOG_PROCESSORS,
    'model_wrapper_cfg': MODEL_WRAPPERS,
}
_OF_LOADER = {
    'dataset': DATASETS,
    'sampler': DATA_SAMPLERS,
    'batch_sampler': DATA_SAMPLERS,
    'collate_fn': FUNCTIONS,
    'worker_init_fn': FUNCTIONS,
}
# What a part builds of its own arguments.
_INNER = {
    DATASETS: {'dataset': DATASETS, 'datasets': DATASETS, 'pipeline': TRANSFORMS},
    TRANSFORMS: {'transforms': TRANSFORMS},
    EVALUATOR: {'metrics': METRICS},
    VISUALIZERS: {'vis_backends': VISBACKENDS},
    OPTIM_WRAPPERS: {'optimizer': OPTIMIZERS},
}
# Types of other packages, under a key of ours.
_FOREIGN = ('Albu', 'Albumentations')
_ANYWHERE = (MODELS, TASK_UTILS, WEIGHT_INITIALIZERS, *dict.fromkeys(_TOP.values()), TRANSFORMS)
_ANYWHERE += (DATASETS, DATA_SAMPLERS, OPTIMIZERS, VISBACKENDS, EVALUATOR, FUNCTIONS)


@dataclass(frozen=True)
class Part:
    """A dict of a config from which something is built.

    Attributes:
        key: Where it stands, as ``--cfg-options`` spells it.
        cfg: The dict.
        registry: Where MMEngine looks its type up; None for data loaders, which have none.
        type: What it is, by name or the class itself; what it is by default if it has no ``type``.
        scope: ``_scope_`` of the parts around it, or its own.
        certain: Whether it is certain that ``registry`` builds it with all its entries. Parts of a
            model may look at entries first, or take types from elsewhere.
    """

    key: str
    cfg: dict
    registry: Registry | None
    type: Any
    scope: str | None
    certain: bool

    @property
    def kind(self) -> Callable | None:
        """The class or function that is built; None if there is none of that name."""
        if not isinstance(self.type, str):
            return self.type if callable(self.type) else None
        own = [self.registry] if self.registry else []
        registries = own if self.certain else [*own, *_ANYWHERE]
        found = (find(registry, self.type, self.scope) for registry in registries)
        return next((kind for kind in found if kind is not None), None)


def parts_of(cfg: Config | dict) -> Iterator[Part]:
    """All parts of a run's config, those inside others after them."""
    if cfg.get('runner_type'):
        yield Part('runner_type', {}, RUNNERS, cfg['runner_type'], None, certain=True)
    for name, registry in _TOP.items():
        value = cfg.get(name)
        if registry is METRICS and isinstance(value, dict) and 'metrics' in value:
            yield from _in(value, name, EVALUATOR, default='Evaluator')
        elif registry is HOOKS and isinstance(value, dict):
            for key, hook in value.items():
                yield from _in(hook, f'{name}.{key}', HOOKS)
        else:
            yield from _in(value, name, registry, default=_default(name, value))
    for name in LOADERS:
        loader = cfg.get(name)
        if isinstance(loader, dict):
            yield Part(name, loader, None, DataLoader, None, certain=True)
            for key, registry in _OF_LOADER.items():
                yield from _in(loader.get(key), f'{name}.{key}', registry)


def find(registry: Registry, name: str, scope: str | None = None) -> Callable | None:
    """What a type without or with a scope (``mmdet.CocoDataset``) stands for."""
    with _switched(registry, scope) as place:
        if '.' in name:
            try:
                kind = place.get(name)
            except Exception:  # it may be anything that can be imported
                return None
            return kind if callable(kind) else None
        return _types(place).get(name)  # `get` would import a module of that name


def names_known_to(registry: Registry, name: str, scope: str | None) -> list[str]:
    """Types that ``name`` may have been meant to be, spelled with a scope if it is."""
    prefix, dot, kind = name.rpartition('.')
    scopes = [str(registry.root.scope), *registry.root.children]
    if dot and prefix not in scopes:
        meant = closest(prefix, scopes)
        return [f'{meant}.{kind}'] if meant and find(registry, f'{meant}.{kind}') else []
    with _switched(registry, prefix or scope) as place:
        return [f'{prefix}{dot}{known}' for known in _types(place)]


def scopes_with(registry: Registry, name: str) -> list[str]:
    """``name`` with the scopes in which it is registered, where the current one has none."""
    children = registry.root.children.items()
    return [f'{scope}.{name}' for scope, child in children if name in child.module_dict]


@contextmanager
def _switched(registry: Registry, scope: str | None) -> Iterator[Registry]:
    """The registry of a scope, of the default one if it is None, as MMEngine looks it up."""
    if registry is FUNCTIONS:  # the Runner asks it alone
        yield registry
        return
    with registry.switch_scope_and_registry(scope) as place:
        yield place


def _types(place: Registry) -> dict[str, Callable]:
    """All types that a registry knows by names without a scope."""
    place.import_from_location()
    types: dict[str, Callable] = {}
    level: Registry | None = place
    while level is not None:
        types = {**level.module_dict, **types}
        level = level.parent
    return types


def _default(name: str, value: Any) -> str | None:
    """What is built where no type is given."""
    if name == 'train_cfg' and isinstance(value, dict) and 'by_epoch' in value:
        return 'EpochBasedTrainLoop' if value['by_epoch'] else 'IterBasedTrainLoop'
    return dict(
        val_cfg='ValLoop',
        test_cfg='TestLoop',
        optim_wrapper='OptimWrapper',
        log_processor='LogProcessor',
        visualizer='Visualizer',
    ).get(name)


def _in(
    value: Any,
    key: str,
    registry: Registry,
    default: str | None = None,
    scope: str | None = None,
    certain: bool = True,
) -> Iterator[Part]:
    if isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _in(item, f'{key}.{place}', registry, None, scope, certain)
    if not isinstance(value, dict):
        return
    scope = value.get('_scope_', scope)
    kind = value.get('type', default)
    if kind is not None:
        yield Part(key, value, registry, kind, scope, certain)
    inner = _INNER.get(registry, {})
    if kind in _FOREIGN:
        return
    for name, child in value.items():
        if name == 'init_cfg':
            yield from _in(child, f'{key}.{name}', WEIGHT_INITIALIZERS, None, scope, False)
        elif name == 'constructor' and registry is OPTIM_WRAPPERS:
            yield Part(f'{key}.{name}', {}, OPTIM_WRAPPER_CONSTRUCTORS, child, scope, certain=True)
        elif name in inner:
            yield from _in(child, f'{key}.{name}', inner[name], None, scope, certain)
        elif name not in ('type', '_scope_'):
            yield from _in(child, f'{key}.{name}', registry, None, scope, False)
