"""Files are written whole or not at all."""

import os

import pytest

from mmseg_faseg.errors import UserError
from mmseg_faseg.files import make_folder, whole_file


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / 'a' / 'b')
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file/c cannot be made: Not a directory'):
        make_folder(tmp_path / 'file' / 'c')


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
