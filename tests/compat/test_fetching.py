"""Weights by address are fetched once on each machine."""

import pytest

from mmseg_faseg.compat import fetching
from mmseg_faseg.compat.fetching import fetch
from mmseg_faseg.errors import UserError

URL = 'http://127.0.0.1:9/weights.pth'


@pytest.fixture
def fetched(monkeypatch):
    """Addresses that were fetched, without a network."""
    urls = []

    def download(url, file, progress):
        urls.append(url)
        file.write_bytes(b'weights')

    monkeypatch.setattr(fetching, 'download', download)
    return urls


@pytest.mark.parametrize(('rank', 'local_rank', 'times'), [(0, 0, 1), (8, 0, 1), (9, 1, 0)])
def test_by_the_first_process_of_each_machine(
    fetched, tmp_path, monkeypatch, rank, local_rank, times
):
    monkeypatch.setenv('RANK', str(rank))
    monkeypatch.setenv('LOCAL_RANK', str(local_rank))
    for _ in range(2):
        assert fetch(URL, str(tmp_path / 'kept')) == tmp_path / 'kept' / 'weights.pth'
    assert fetched == [URL] * times


def test_what_cannot_be_fetched_has_a_place(tmp_path, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    with pytest.raises(UserError, match=f'cannot fetch {URL} .*: put the file at .*weights.pth'):
        fetch(URL, str(tmp_path))
    assert not list(tmp_path.iterdir())
