"""Names of files, folders and patterns become a list of images and videos, each once."""

import io
import os
from types import SimpleNamespace

import pytest

from mmseg_faseg.apis.inputs import find_inputs
from mmseg_faseg.errors import UserError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        *('photos/a.jpg', 'photos/a.png', 'photos/sub/a.JPG', 'photos/Straße 1/ü.tif'),
        *('photos/drive.mp4', 'photos/Thumbs.db', 'photos/labels.json', 'photos/.hidden.jpg'),
        *('photos/.git/x.png', 'other/a.jpg', 'big.tif', 'a[1].jpg'),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(*given, out='out'):
    return {one.path: one.name for one in find_inputs(given, out).inputs}


def test_a_folder_is_searched_with_those_below(photos):
    found = find_inputs(['photos'], 'out')
    assert {one.path: one.name for one in found.inputs} == {
        'photos/a.jpg': 'a.jpg',
        'photos/a.png': 'a.png',
        'photos/drive.mp4': 'drive',
        'photos/sub/a.JPG': 'sub/a',
        'photos/Straße 1/ü.tif': 'Straße 1/ü',
    }
    assert found.skipped == ['photos/Thumbs.db', 'photos/labels.json']
    assert [one.path for one in found.inputs if one.is_video] == ['photos/drive.mp4']


def test_subfolders_keep_their_names_even_where_nothing_else_is(photos):
    assert names('other') == {'other/a.jpg': 'a'}
    os.rename('other', 'photos/sub/deep')
    os.remove('photos/sub/a.JPG')
    assert names('photos/sub') == {'photos/sub/deep/a.jpg': 'deep/a'}


def test_several_never_share_a_name(photos):
    found = names('photos', 'other', 'big.tif', 'photos/a.jpg')
    assert len(set(found.values())) == len(found) == 7
    assert found['other/a.jpg'] == 'other/a'
    assert found['photos/a.jpg'] == 'photos/a.jpg'
    assert found['big.tif'] == 'big'


def test_files_are_taken_by_their_word(photos):
    found = find_inputs(['photos/Thumbs.db'], 'out')
    assert [one.path for one in found.inputs] == ['photos/Thumbs.db']


def test_patterns(photos):
    assert names('photos/**/*.jpg') == {'photos/a.jpg': 'a'}
    assert names('a[1].jpg') == {'a[1].jpg': 'a[1]'}  # a name, not a pattern


def test_results_are_no_inputs(photos):
    (photos / 'photos/out').mkdir()
    (photos / 'photos/out/b.png').touch()
    assert 'photos/out/b.png' in names('photos')
    assert 'photos/out/b.png' not in names('photos', out='photos/out')


@pytest.mark.parametrize('parted_by', ['\n', '\r\n', '\0'])
def test_a_list_on_standard_input(photos, monkeypatch, parted_by):
    given = parted_by.join(['big.tif', 'photos/Straße 1/ü.tif', 'gone.jpg', 'photos', ''])
    stdin = SimpleNamespace(buffer=io.BytesIO(given.encode()))
    monkeypatch.setattr('sys.stdin', stdin)
    found = find_inputs(['-', 'other/a.jpg'], 'out')
    assert [one.name for one in found.inputs] == ['other/a', 'big', 'photos/Straße 1/ü']
    assert found.unreadable == ['there is no file gone.jpg', 'there is no file photos']


def test_names_that_are_no_text(photos, monkeypatch):
    name = os.fsencode(photos) + b'/photos/\xff.jpg'
    open(name, 'w').close()
    assert os.fsdecode(b'\xff') in names('photos').values()
    monkeypatch.setattr('sys.stdin', SimpleNamespace(buffer=io.BytesIO(name)))
    assert list(names('-').values()) == [os.fsdecode(b'\xff')]


def test_what_is_not_there_is_said_at_once(photos):
    with pytest.raises(UserError, match=r'there is no file or folder gone.jpg, \*.bmp'):
        find_inputs(['photos', 'gone.jpg', '*.bmp'], 'out')


def test_a_folder_that_may_not_be_read(photos, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith('sub'):
            raise PermissionError(13, 'Permission denied', path)
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    found = find_inputs(['photos'], 'out')
    assert found.unreadable == ['photos/sub cannot be read: Permission denied']
    assert len(found.inputs) == 4
