"""What a user can mend or has caused ends in one line, whatever the command; bugs in a trace."""

import errno
import os
import sys

import pytest
from typer.testing import CliRunner

from mmseg_faseg.cli import app
from mmseg_faseg.errors import UserError, did_you_mean, in_one_line, one_line_errors
from mmseg_faseg.files import check_folder, check_output, whole_file
from tests.helpers.tools import call_tool


def full_disk(*name: str) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *name)


ENDINGS = {
    'mistake': (UserError('no such thing'), 2, 'error: no such thing'),
    'Ctrl-C': (
        KeyboardInterrupt(),
        130,
        'stopped: what was written is whole; to go on, repeat the command, with --resume where it '
        'has that',
    ),
    'full disk': (
        full_disk('out/a.png'),
        2,
        'error: out/a.png: No space left on device: make room and repeat the command, with '
        '--resume where it has that; what was written is whole',
    ),
    'full disk, while a file is written': (
        full_disk(),
        2,
        'error: No space left on device: make room and repeat the command, with '
        '--resume where it has that; what was written is whole',
    ),
    'read-only': (
        OSError(errno.EROFS, os.strerror(errno.EROFS), 'out'),
        2,
        'error: out: Read-only file system: name another place, or change who may use this one; '
        'what was written is whole',
    ),
    'not allowed': (
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), 'out'),
        2,
        'error: out: Permission denied: name another place, or change who may use this one; '
        'what was written is whole',
    ),
}


@pytest.mark.parametrize('ending', ENDINGS)
def test_tools_and_the_command_line_end_alike(ending, tmp_path, monkeypatch, capsys):
    error, status, line = ENDINGS[ending]

    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr('mmseg_faseg.checkpoints.publish.publish_model', fails)
    with pytest.raises(SystemExit) as end:
        call_tool('publish_model.py', 'a.pth', 'b.pth', monkeypatch=monkeypatch, cwd=tmp_path)
    assert (end.value.code, capsys.readouterr().err) == (status, f'{line}\n')
    monkeypatch.setattr('mmseg_faseg.own_data.examine.examine', fails)
    done = CliRunner().invoke(app, ['check', 'photos'])
    assert (done.exit_code, done.stderr) == (status, f'{line}\n')


@pytest.mark.parametrize('error', [ValueError('a bug'), FileNotFoundError(2, 'gone', 'a.txt')])
def test_errors_of_the_program_keep_their_trace(error):
    assert in_one_line(error) is None

    @one_line_errors
    def main():
        raise error

    with pytest.raises(type(error)):
        main()


def test_of_several_processes_the_first_one_speaks(monkeypatch, capsys):
    @one_line_errors
    def main():
        raise UserError('the same everywhere')

    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('tool', ['convert_weights.py', 'publish_model.py', 'mmseg_tool.py'])
def test_a_tool_that_is_stopped_while_it_starts(tool, tmp_path, monkeypatch, capsys):
    class Stopped:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, 'mmseg_faseg.errors', Stopped())
    with pytest.raises(SystemExit) as end:
        call_tool(tool, 'a', 'b', monkeypatch=monkeypatch, cwd=tmp_path)
    assert (end.value.code, capsys.readouterr().err) == (130, '')


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (full_disk(), 'a.pth cannot be written: No space left on device: make room and repeat'),
        (
            RuntimeError('[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534'),
            'a.pth cannot be written: PyTorch could not write all of it, as on a full disk: make',
        ),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path, error, said):
    file = tmp_path / 'a.pth'
    file.write_text('before')
    with pytest.raises(UserError, match=said), whole_file(file):
        raise error
    assert file.read_text() == 'before'
    assert os.listdir(tmp_path) == ['a.pth']


def test_what_fails_while_a_file_is_written_keeps_its_own_error(tmp_path):
    with pytest.raises(RuntimeError, match='^no memory$') as raised, whole_file(tmp_path / 'a.pth'):
        raise RuntimeError('no memory')
    assert not isinstance(raised.value, UserError)
    assert os.listdir(tmp_path) == []


def test_a_read_only_place_is_refused_before_work_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UserError, match=f'nothing can be written to {tmp_path}, where a.onnx is'):
        check_output(tmp_path / 'a.onnx', '.onnx')
    with pytest.raises(UserError, match=f'work_dir is .*/run, but nothing .* to {tmp_path}'):
        check_folder(tmp_path / 'run', 'work_dir')


def test_did_you_mean():
    assert did_you_mean('modle', ['model', 'data']) == ", did you mean 'model'?"
    assert did_you_mean('nonsense', ['model', 'data']) == ''
