from ..errors import UserError, one_line_errors
from .config import add_options, load_config, parse_options, work_dir_of
from .run import test, train
from .stored_config import load_stored_config

__all__ = [
    'UserError',
    'add_options',
    'load_config',
    'load_stored_config',
    'one_line_errors',
    'parse_options',
    'test',
    'train',
    'work_dir_of',
]
