"""``faseg report`` as a user types it."""

import sys

import pytest

from tests.helpers.pages import Page
from tests.helpers.tools import REPOSITORY, run


@pytest.mark.subprocess
def test_it_writes_a_page_and_says_where(trained, tmp_path):
    command = (sys.executable, '-m', 'mmseg_faseg', 'report')
    out = tmp_path / 'report.html'
    arguments = (trained.work_dir, '--out', out, '--max-images', 2)
    done = run(*command, *arguments, cwd=tmp_path, PYTHONPATH=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{out}\n'
    assert f'{trained.work_dir}: predicting, 2 images' in done.stderr
    assert 'images 2 of 5' in Page.read(out).text
    done = run(*command, tmp_path / 'none', cwd=tmp_path, PYTHONPATH=REPOSITORY)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('error: there is no run') and done.stderr.count('\n') == 1
