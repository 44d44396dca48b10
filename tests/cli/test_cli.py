"""The command line: starts at once, teaches, and ends in one line."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mmseg_faseg.cli import VERBS, app
from tests.helpers.photos import make_folders
from tests.helpers.tools import REPOSITORY

HEAVY = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'numpy', 'matplotlib')


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    'arguments', [['--help'], ['--version'], *([v.__name__, '-h'] for v in VERBS)]
)
def test_help_imports_nothing_that_takes_seconds(arguments):
    code = (
        'import runpy, sys, atexit\n'
        f'atexit.register(lambda: print("heavy:", [m for m in {HEAVY} if m in sys.modules]))\n'
        f'sys.argv[1:] = {arguments}\n'
        'sys.orig_argv[1:] = ["-m", "mmseg_faseg"]; sys.argv[0] = "-m"\n'
        'runpy.run_module("mmseg_faseg", run_name="__main__")'
    )
    command = [sys.executable, '-P', '-c', code]
    done = subprocess.run(
        command, capture_output=True, text=True, env={'PYTHONPATH': str(REPOSITORY), 'PATH': ''}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'heavy: []'


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_teaches_by_example(verb):
    assert f'faseg {verb.__name__} ' in (verb.__doc__ or '')


def test_several_words_for_one_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos, masks = make_folders(tmp_path)
    for words in (['other', 'my car'], ['other', '--classes', 'my car']):
        done = call('check', photos, '--labels', masks, '--classes', *words, '--val', 2)
        assert done.exit_code == 0, done.output
        assert 'my car' in done.output
    words = ['--classes', 'other', 'my car']
    assert call('check', *words, '--labels', masks, '--', photos).exit_code == 0
    assert call('check', photos, '--labels', masks, '--classes=other', 'my car').exit_code == 0
    swallowed = call('check', '--labels', masks, *words, photos)
    assert 'All words after --classes are its own: put it last.' in ' '.join(
        swallowed.output.replace('│', ' ').split()
    )


def test_options_with_one_value_leave_the_inputs_alone(tmp_path):
    done = call('predict', 'nowhere.pth', '--areas', 'a.csv', tmp_path, '--out', tmp_path / 'out')
    assert 'there is no image or video in' in done.output


def test_the_exit_status_says_whether_training_would_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos, masks = make_folders(tmp_path)
    assert call('check', photos, '--labels', masks, '--classes', 'a', 'b').exit_code == 0
    done = call('check', photos, '--labels', masks, '--classes', 'a', 'b', 'c')
    assert done.exit_code == 1
    assert "no image shows 'c'" in done.output
    assert (tmp_path / 'photos-check.html').is_file()
    assert call('check', photos).exit_code == 0
    (photos / 'p0.jpg').write_bytes(b'')
    done = call('check', photos)
    assert done.exit_code == 1
    assert 'Photos without labels: 1 finding to mend first.' in done.output
    assert '--skip-bad' not in done.output


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['check', 'nowhere'], 'error: nowhere: there is no such folder'),
        (['chekc', 'photos'], "Did you mean 'check'"),
        (['check', 'photos', '--lables', 'masks'], '--labels'),
        (['check', 'photos', '--html', 'page.txt'], 'the output must end in .html, got page.txt'),
        (['train', 'photos'], '--labels: a folder of label maps is needed'),
        (['train', 'photos', '--resume'], '--resume: there is no runs/photos.py'),
        (
            ['train', 'photos', '--labels', 'masks', '--iters', 'many'],
            "Invalid value for '--iters'",
        ),
        (['train', 'photos', '--labels', 'masks', '--batch', '-1'], 'must be at least 1, got -1'),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2
    assert said in ' '.join(done.output.split())
    assert 'Traceback' not in done.output
