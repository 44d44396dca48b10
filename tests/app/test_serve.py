"""``faseg app`` says what is wrong before it serves anything."""

import socket
import sys

import pytest
from typer.testing import CliRunner

from mmseg_faseg.cli import app


@pytest.fixture(autouse=True)
def settings_restored(monkeypatch):
    for name in ('GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED', 'no_proxy'):
        monkeypatch.setenv(name, '')  # which ends with the test, as what the app sets does


def call(*arguments):
    return CliRunner().invoke(app, ['app', *map(str, arguments)])


@pytest.fixture
def taken():
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--host', '192.0.2.1'], 'error: nothing can listen on 192.0.2.1, port 7860: '),
        (['--host', 'no.such.host.invalid'], 'error: nothing can listen on no.such.host.invalid'),
        (['--port', '70000'], 'error: port must be from 1 to 65535, got 70000'),
        (['--port', '0'], 'error: port must be from 1 to 65535, got 0'),
        (['--max-megapixels', '0'], 'error: max_megapixels must be a number above 0, got 0'),
        (['--max-megapixels', 'nan'], 'error: max_megapixels must be a number above 0, got nan'),
        (['--max-megapixels', 'inf'], 'error: max_megapixels must be a number above 0, got inf'),
    ],
)
def test_wrong_arguments(arguments, said):
    done = call('model.pth', *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(said) and done.stderr.count('\n') == 1


def test_a_port_that_is_taken(taken):
    done = call('model.pth', '--port', taken)
    assert done.exit_code == 2
    assert done.stderr == (
        f'error: nothing can listen on 127.0.0.1, port {taken}: Address already in use; --host and '
        '--port name others\n'
    )


def test_no_such_model(tmp_path, free_port):
    pytest.importorskip('gradio', reason="gradio is not installed: the extra 'app'")
    done = call(tmp_path / 'none.pth', '--port', free_port)
    assert done.exit_code == 2
    assert done.stderr == f'error: there is no checkpoint {tmp_path / "none.pth"}\n'


def test_without_gradio(monkeypatch, free_port):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.delitem(sys.modules, 'mmseg_faseg.app.page', raising=False)
    done = call('model.pth', '--port', free_port)
    assert done.exit_code == 2
    assert done.stderr == "error: gradio is not installed: pip install 'mmseg_faseg[app]'\n"


@pytest.fixture
def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]
