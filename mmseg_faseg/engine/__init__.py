from .checkpoint_check import CheckpointCheckHook
from .data_check import DataCheckHook, DataMismatchError
from .optimizer import FASegOptimWrapperConstructor

__all__ = [
    'CheckpointCheckHook',
    'DataCheckHook',
    'DataMismatchError',
    'FASegOptimWrapperConstructor',
]
