"""Files are written whole or not at all."""

import os

import pytest

from mmseg_faseg.files import whole_file


def test_an_error_leaves_what_was_there(tmp_path):
    file = tmp_path / 'weights.pth'
    file.write_text('before')
    with pytest.raises(KeyboardInterrupt), whole_file(file) as temporary:
        temporary.write_text('half')
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ['weights.pth']
    assert file.read_text() == 'before'


def test_success_replaces_it_with_the_usual_permissions(tmp_path):
    file, other = tmp_path / 'weights.pth', tmp_path / 'other'
    file.write_text('before')
    other.write_text('')
    with whole_file(file) as temporary:
        temporary.write_text('after')
        assert file.read_text() == 'before'
    assert sorted(os.listdir(tmp_path)) == ['other', 'weights.pth']
    assert file.read_text() == 'after'
    assert file.stat().st_mode == other.stat().st_mode
