"""What `tools/install.sh` is asked for wrongly is one line, and nothing is made."""

import pytest

from tests.helpers.tools import REPOSITORY, run


@pytest.mark.parametrize(
    ('setting', 'known'), [('STACK', 'openmmlab or onedl'), ('MMCV', 'lite or compiled')]
)
def test_a_wrong_setting_is_named(setting, known, tmp_path):
    settings = {'VENV': tmp_path / 'venv', setting: 'other'}
    done = run('bash', REPOSITORY / 'tools' / 'install.sh', cwd=tmp_path, **settings)
    assert done.returncode == 2
    assert done.stderr == f'error: {setting} is {known}, got other\n'
    assert done.stdout == ''
    assert list(tmp_path.iterdir()) == []
