"""``faseg weights`` as it is typed."""

import pytest
from typer.testing import CliRunner

from mmseg_faseg.cli import app

SWIN_T = 'faseg_swin-t_ade20k'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_FASEG_WEIGHTS', str(tmp_path / 'weights'))
    return tmp_path / 'weights'


def faseg(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize('arguments', [(), ('--list',)])
def test_all_names_are_listed_with_their_licence(arguments, folder):
    folder.mkdir()
    (folder / f'{SWIN_T}.pth').write_text('')
    done = faseg('weights', *arguments)
    assert done.exit_code == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[:-1]}
    assert len(rows) == 10
    assert ' here ' in rows[SWIN_T] and ' not fetched ' in rows['faseg_r50_ade20k']
    assert 'CC BY-NC 4.0' in rows[SWIN_T] and 'V1/ade_faseg_swin_ti.pth' in rows[SWIN_T]
    assert done.stdout.splitlines()[-1] == f'kept in {folder}'


def test_without_a_network_one_line_says_what_to_put_where(folder, monkeypatch):
    def no_network(*_, **__):
        raise OSError('Network is unreachable')

    monkeypatch.setattr('mmseg_faseg.downloads.urlopen', no_network)
    done = faseg('weights', SWIN_T)
    assert done.exit_code == 2
    licence, fetching = done.stdout.splitlines()
    assert 'CC BY-NC 4.0' in licence and fetching.startswith('fetching  https://')
    (line,) = done.stderr.splitlines()
    address = fetching.split()[1]
    assert line == (
        f'error: cannot fetch {address} (Network is unreachable): put the file at '
        f'{folder}/ade_faseg_swin_ti.pth, and give the same command again'
    )


def test_what_is_here_is_not_fetched(folder):
    folder.mkdir()
    (folder / f'{SWIN_T}.pth').write_text('')
    done = faseg('weights', SWIN_T)
    assert done.exit_code == 0 and 'fetching' not in done.stdout
    assert done.stdout.splitlines()[-1].endswith(f'{folder}/{SWIN_T}.pth, or {SWIN_T} for short')


def test_a_name_that_is_none(folder):
    done = faseg('weights', 'faseg_swin-t')
    assert done.exit_code == 2 and 'no weights of' in done.stderr
