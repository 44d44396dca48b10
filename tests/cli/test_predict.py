"""``faseg predict``: what it takes, says and exits with."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmseg_faseg.cli import app
from tests.helpers.random_checkpoint import picture, save_checkpoint, small_config
from tests.helpers.tools import REPOSITORY, run


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    save_checkpoint(folder / 'best_mIoU_iter_1.pth', small_config())
    return folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('photos').mkdir()
    for seed in range(2):
        Image.fromarray(picture(40, 64, seed)).save(f'photos/{seed}.png')


def faseg(*arguments, **more):
    return CliRunner().invoke(app, ['predict', *map(str, arguments)], **more)


def test_all_is_well(run_dir, photos):
    result = faseg(run_dir, 'photos', '--out', 'out', '--areas', 'a.csv', '--areas', 'a.json')
    assert result.exit_code == 0
    assert result.stdout == '2 predicted, 0 skipped, 0 failed: out\n'
    assert Path('a.csv').is_file() and Path('a.json').is_file()


def test_a_broken_file_is_1(run_dir, photos):
    Path('photos/broken.jpg').touch()
    Path('photos/Thumbs.db').touch()
    result = faseg(run_dir, 'photos', '--out', 'out')
    assert result.exit_code == 1
    assert result.stdout == '2 predicted, 1 skipped, 1 failed: out\n'
    assert 'failed: photos/broken.jpg cannot be read: it is empty\n' in result.stderr
    assert 'skipped, neither image nor video by its name: photos/Thumbs.db\n' in result.stderr


@pytest.mark.parametrize(
    'arguments',
    [
        ['gone', 'photos', '--out', 'out'],
        ['{run}', 'gone', '--out', 'out'],
        ['{run}', 'photos', '--out', 'out', '--tile', '3'],
        ['{run}', 'photos', '--out', 'out', '--overlays', 'gif'],
    ],
)
def test_a_wrong_command_is_2_and_a_line(run_dir, photos, arguments):
    result = faseg(*(argument.format(run=run_dir) for argument in arguments))
    assert result.exit_code == 2
    assert result.stderr.startswith('error: ') and result.stderr.count('\n') == 1
    assert not Path('out').exists()


@pytest.mark.subprocess
def test_a_process_with_names_on_standard_input(run_dir, photos):
    script = (
        'import os, subprocess, sys; '
        "sys.exit(subprocess.run(sys.argv[1:], input=b'photos/0.png\\nphotos/gone.png').returncode)"
    )
    faseg = (sys.executable, '-P', '-m', 'mmseg_faseg')
    arguments = ('predict', run_dir, '-', '--out', 'out', '--device', 'cpu', '--tile', 48)
    result = run(
        *(sys.executable, '-c', script, *faseg, *arguments),
        cwd=Path.cwd(),
        PYTHONPATH=REPOSITORY,
        PYTHONWARNINGS='ignore',
    )
    assert result.returncode == 1
    assert result.stdout == '1 predicted, 0 skipped, 1 failed: out\n'
    assert 'failed: there is no file photos/gone.png\n' in result.stderr
    assert 'Traceback' not in result.stderr
    assert np.asarray(Image.open('out/labels/0.png')).shape == (40, 64)
    assert Path('out/overlays/0.jpg').is_file()
