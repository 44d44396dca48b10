from .broken_images import BrokenImageError, BrokenImagesHook, explained_dead_workers
from .checkpoint_check import CheckpointCheckHook
from .data_check import DataCheckHook, DataMismatchError
from .log_processor import LossKindsLogProcessor
from .nonfinite import NonFiniteError, NonFiniteHook, replay
from .optimizer import FASegOptimWrapperConstructor
from .output_names import OutputNamesHook
from .run_start import RunStartHook
from .runner import ReadableRunner
from .settings_check import SettingsCheckHook, SettingsMismatchError
from .time_limit import TimeLimitHook
from .unlabelled import UnlabelledTestError, UnlabelledTestHook

__all__ = [
    'BrokenImageError',
    'BrokenImagesHook',
    'CheckpointCheckHook',
    'DataCheckHook',
    'DataMismatchError',
    'FASegOptimWrapperConstructor',
    'LossKindsLogProcessor',
    'NonFiniteError',
    'NonFiniteHook',
    'OutputNamesHook',
    'ReadableRunner',
    'RunStartHook',
    'SettingsCheckHook',
    'SettingsMismatchError',
    'TimeLimitHook',
    'UnlabelledTestError',
    'UnlabelledTestHook',
    'explained_dead_workers',
    'replay',
]
