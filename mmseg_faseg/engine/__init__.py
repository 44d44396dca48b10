from .checkpoint_check import CheckpointCheckHook
from .data_check import DataCheckHook, DataMismatchError
from .optimizer import FASegOptimWrapperConstructor
from .time_limit import TimeLimitHook

__all__ = [
    'CheckpointCheckHook',
    'DataCheckHook',
    'DataMismatchError',
    'FASegOptimWrapperConstructor',
    'TimeLimitHook',
]
