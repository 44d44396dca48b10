"""Two processes on one machine, talking through gloo."""

import socket
from types import SimpleNamespace

import pytest

from tests.helpers.tools import run_tool


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


@pytest.fixture
def train_by_two(write_config, tmp_path, port):
    """Trains the tiny config in two processes, with hooks of a test's own."""

    def train(hooks: str, more: str, *arguments: str, name: str = 'tiny') -> SimpleNamespace:
        (tmp_path / 'own_hooks.py').write_text(hooks)
        imports = ('mmseg_faseg', 'own_hooks')
        config = write_config(tmp_path / f'{name}.py', more, imports=imports)
        environment = dict(PORT=port, PYTHONPATH=tmp_path)
        return run_tool('dist_train.sh', config, 2, *arguments, cwd=tmp_path, **environment)

    return train
