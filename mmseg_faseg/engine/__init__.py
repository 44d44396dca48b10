from .broken_images import BrokenImageError, BrokenImagesHook, explained_dead_workers
from .checkpoint_check import CheckpointCheckHook
from .checkpoint_hook import CheckpointHook
from .config_check import check_config
from .data_check import DataCheckHook, DataMismatchError
from .exact_resume import ExactResumeHook
from .failed_batch import replay
from .log_processor import LossKindsLogProcessor
from .nonfinite import NonFiniteError, NonFiniteHook
from .optimizer import FASegOptimWrapperConstructor
from .output_names import OutputNamesHook
from .run_lock import RunLockHook
from .run_start import RunStartHook
from .runner import ReadableRunner
from .settings_check import SettingsCheckHook, SettingsMismatchError
from .sharded_runner import ShardedRunner
from .stop_signals import StopSignalHook
from .time_limit import TimeLimitHook
from .unlabelled import UnlabelledTestError, UnlabelledTestHook

__all__ = [
    'BrokenImageError',
    'BrokenImagesHook',
    'CheckpointCheckHook',
    'CheckpointHook',
    'DataCheckHook',
    'DataMismatchError',
    'ExactResumeHook',
    'FASegOptimWrapperConstructor',
    'LossKindsLogProcessor',
    'NonFiniteError',
    'NonFiniteHook',
    'OutputNamesHook',
    'ReadableRunner',
    'RunLockHook',
    'RunStartHook',
    'SettingsCheckHook',
    'SettingsMismatchError',
    'ShardedRunner',
    'StopSignalHook',
    'TimeLimitHook',
    'UnlabelledTestError',
    'UnlabelledTestHook',
    'check_config',
    'explained_dead_workers',
    'replay',
]
