"""Downloads are whole or not at all, and go on where they were interrupted."""

import fcntl
import os
import resource
import socket

import pytest

from mmseg_faseg.downloads import download
from mmseg_faseg.errors import UserError
from tests.helpers.file_server import serving

CONTENT = os.urandom(1_000_003)


@pytest.fixture
def server():
    with serving(CONTENT) as served:
        yield served


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'weights.pth'


def interrupted(server, file, after=300_000):
    """A download that breaks off; its message."""
    server.cut = after
    with pytest.raises(UserError) as caught:
        download(server.address, file)
    server.cut = None
    assert not file.exists() and '\n' not in str(caught.value)
    return str(caught.value)


def fetched(server, file):
    """Whether the file comes whole, with nothing beside it; and what was asked for last."""
    download(server.address, file)
    assert file.read_bytes() == server.content
    assert os.listdir(file.parent) == [file.name]
    return server.asked[-1]


def test_a_file_comes_whole(server, file):
    assert 'Range' not in fetched(server, file)
    assert len(server.asked) == 1


def test_an_interrupted_download_goes_on(server, file):
    message = interrupted(server, file)
    assert f'cannot fetch {server.address} (it ended after 300,000 of 1,000,003 bytes)' in message
    assert 'the same command goes on after 300,000 bytes' in message
    interrupted(server, file, after=200_000)
    asked = fetched(server, file)
    assert (asked['Range'], asked['If-Range']) == ('bytes=500000-', '"one"')


def test_by_a_date_where_there_is_no_tag(server, file):
    server.tag, server.date = None, 'Mon, 02 Jan 2023 03:04:05 GMT'
    interrupted(server, file)
    assert fetched(server, file)['If-Range'] == server.date


@pytest.mark.parametrize('tag', [None, 'W/"weak"'])
def test_without_a_tag_of_these_very_bytes_it_begins_anew(tag, server, file):
    server.tag = tag
    interrupted(server, file)
    assert 'Range' not in fetched(server, file)


def test_a_server_that_sends_no_parts(server, file):
    server.ranges = False
    interrupted(server, file)
    assert 'Range' in fetched(server, file)


def test_a_file_that_changed_meanwhile(server, file):
    interrupted(server, file)
    server.content, server.tag = os.urandom(400_000), '"two"'
    fetched(server, file)


def test_a_server_that_sends_a_part_of_what_changed(server, file):
    interrupted(server, file)
    server.content, server.tag, server.careless = os.urandom(400_000), '"two"', True
    assert 'Range' not in fetched(server, file)


@pytest.mark.parametrize('shift', [1, -7])
def test_a_part_that_was_not_asked_for_is_not_taken(shift, server, file):
    interrupted(server, file)
    server.shift = shift
    assert 'Range' not in fetched(server, file)


def test_all_bytes_but_no_end(server, file):
    """Killed between the last byte and the renaming."""
    interrupted(server, file)
    part = file.with_name('weights.pth.part')
    part.write_bytes(CONTENT)
    assert 'Range' not in fetched(server, file)
    assert 'Range' in server.asked[-2]


@pytest.mark.parametrize('begun', [True, False])
def test_a_page_of_a_network_that_wants_a_login(begun, server, file):
    if begun:
        interrupted(server, file)
    before = set(os.listdir(file.parent))
    for page in (b'<!DOCTYPE html><html>Log in', b'Log in'):
        server.page = page
        with pytest.raises(UserError, match='a web page comes in its place'):
            download(server.address, file)
    assert set(os.listdir(file.parent)) == before and len(before) == 2 * begun
    server.page = None
    assert ('Range' in fetched(server, file)) == begun


def test_a_page_that_says_it_is_a_file(server, file):
    server.content = b'\n <html>Log in</html>'
    with pytest.raises(UserError, match='a web page comes in its place'):
        download(server.address, file)
    assert os.listdir(file.parent) == []


@pytest.mark.parametrize('status', [404, 503])
def test_an_error_of_the_server(status, server, file):
    server.status = status
    with pytest.raises(UserError, match=f'{status}.*: put the file at {file}'):
        download(server.address, file)
    assert os.listdir(file.parent) == []


def test_another_length_than_was_named(server, file):
    server.claims = 2_000_000
    with pytest.raises(UserError, match='ended after 1,000,003 of 2,000,000 bytes'):
        download(server.address, file)
    assert not file.exists()


def test_no_server(file):
    with pytest.raises(UserError, match='refused.*: put the file at .*weights.pth'):
        download('http://127.0.0.1:9/weights.pth', file)
    assert os.listdir(file.parent) == []


def test_a_server_that_falls_silent_is_given_up_on(file, monkeypatch):
    monkeypatch.setattr('mmseg_faseg.downloads._SECONDS', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        address = f'http://127.0.0.1:{silent.getsockname()[1]}/weights.pth'
        with pytest.raises(UserError, match='timed out.*put the file at'):
            download(address, file)


def test_one_process_at_a_time(server, file):
    with file.with_name('weights.pth.part').open('ab') as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(UserError, match='another process is fetching .*weights.pth$'):
            download(server.address, file)
    fetched(server, file)


def test_a_folder_that_is_not_there(server, tmp_path):
    with pytest.raises(UserError, match='weights.pth.part cannot be written: No such file'):
        download(server.address, tmp_path / 'none' / 'weights.pth')
    assert server.asked == []


def test_a_disk_that_takes_no_more(server, file):
    """As it is when a process may write no larger files; afterwards the download goes on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, before[1]))
    try:
        with pytest.raises(UserError, match='weights.pth.part cannot be written: File too large'):
            download(server.address, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'Range' in fetched(server, file)
