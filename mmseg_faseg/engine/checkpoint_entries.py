"""What a checkpoint holds beside its weights, looked at before MMEngine goes on from it."""

from typing import Any

from mmengine.logging import HistoryBuffer

from ..errors import UserError


def check_entries(checkpoint: dict, name: str) -> None:
    """Checks that the entries which training goes on with are there and of their types.

    Args:
        checkpoint: As it was read.
        name: Of the file, for the error.

    Raises:
        UserError: One is missing or of another type.
    """
    for key in ('meta', 'message_hub', 'optimizer'):
        if not isinstance(checkpoint.get(key), dict):
            raise _error(name, key, checkpoint.get(key))
    hub = checkpoint['message_hub']
    for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(hub.get(key), dict):
            raise _error(name, f'message_hub.{key}', hub.get(key))
    for key, curve in hub['log_scalars'].items():
        if not isinstance(curve, HistoryBuffer):
            raise _error(name, f'message_hub.log_scalars.{key}', curve)
    _check_optimizer(checkpoint['optimizer'], name, 'optimizer')
    schedulers = checkpoint.get('param_schedulers', [])
    for part in schedulers.values() if isinstance(schedulers, dict) else [schedulers]:
        if not isinstance(part, list) or not all(isinstance(item, dict) for item in part):
            raise _error(name, 'param_schedulers', schedulers)


def _check_optimizer(state: dict[str, Any], name: str, key: str) -> None:
    """Of one optimizer, or of several by name."""
    several = {part: value for part, value in state.items() if isinstance(part, str)}
    if (
        'param_groups' not in state
        and several
        and all(isinstance(value, dict) for value in several.values())
    ):
        for part, value in several.items():
            _check_optimizer(value, name, f'{key}.{part}')
        return
    groups = state.get('param_groups')
    if not isinstance(state.get('state'), dict) or not isinstance(groups, list):
        raise _error(name, f'{key}.param_groups', groups)
    if not all(isinstance(group, dict) for group in groups):
        raise _error(name, f'{key}.param_groups', groups)


def _error(name: str, key: str, found: Any) -> UserError:
    what = 'no' if found is None else f'a {type(found).__name__} as'
    return UserError(f'{name} cannot be gone on from: it has {what} {key}')
