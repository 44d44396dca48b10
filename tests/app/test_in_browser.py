"""The app as a person meets it, in Chromium without a window."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from mmseg_faseg import Predictor
from mmseg_faseg.explain.legend import percent
from tests.helpers.browser import AppPage, browser, needs_browser, requested_hosts, running_app
from tests.helpers.random_checkpoint import picture, save_checkpoint, small_config
from tests.helpers.tools import REPOSITORY


@pytest.fixture
def checkpoint(tmp_path):
    return save_checkpoint(tmp_path / 'model.pth', small_config())


def photo(folder, name, height, width, seed):
    Image.fromarray(picture(height, width, seed)).save(folder / name)
    return folder / name


@needs_browser
@pytest.mark.browser
def test_from_upload_to_download(checkpoint, tmp_path):
    first = photo(tmp_path, 'Straße 1.png', 60, 90, 0)
    second = photo(tmp_path, 'second.jpg', 80, 64, 1)
    (tmp_path / 'no picture.png').write_text('text')
    predict = Predictor(checkpoint, device='cpu')
    found, other = predict(first), predict(second)
    downloads = tmp_path / 'downloads'
    downloads.mkdir()
    with running_app(checkpoint) as url, browser(downloads) as driver:
        page = AppPage(driver, url)
        assert page.upload(first).startswith('Straße 1.png ')
        assert_shown(page, found)
        for row, column in ((5, 5), (30, 60), (55, 20)):
            name = found.classes[found.label_map[row, column]]
            place = (column + 0.5) / 90, (row + 0.5) / 60
            assert page.point_at(*place) == name
            assert page.click_at(*place).startswith(f'{name} at ({column}, {row}) is due most to')

        page.script(
            "(e => { e.value = 10; e.dispatchEvent(new Event('input', {bubbles: true})) })"
            "(document.querySelector('#scene input'))"
        )
        assert page.script("document.querySelector('#scene canvas').style.opacity") == '0.1'

        for button in ('labels', 'overlay', 'areas'):
            page.find(f'#{button}').click()
        names = ['Straße 1.png', 'Straße 1_areas.csv', 'Straße 1_overlay.jpg']
        page.wait_for(lambda: sorted(file.name for file in downloads.iterdir()) == names)
        assert np.array_equal(np.asarray(Image.open(downloads / names[0])), found.label_map)

        refused = page.upload(tmp_path / 'no picture.png')
        assert refused == 'no picture.png cannot be read: it is no image of a known kind'
        assert not page.find('#scene .scene').is_displayed()
        assert page.upload(second).startswith('second.jpg ')
        assert_shown(page, other)

        # Somebody else's picture is not mine.
        mine = driver.current_window_handle
        driver.switch_to.new_window('window')
        theirs = AppPage(driver, url)
        theirs.upload(first)
        theirs.legend()
        driver.switch_to.window(mine)
        assert ' at (32, 79) ' in page.click_at(0.51, 0.994)
        assert requested_hosts(driver) == {url.split('/')[2]}


def assert_shown(page, prediction):
    """The legend has its areas, and the canvas every pixel in the colour of its class."""
    legend = [f'{name} {percent(share)}' for name, share in prediction.areas.items()]
    page.wait_for(lambda: page.legend() == legend)
    pixels = page.script(
        "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
        "(document.querySelector('#scene canvas'))"
    )
    painted = np.array(pixels).reshape(*prediction.label_map.shape, 4)
    assert np.array_equal(painted[..., :3], np.array(prediction.palette)[prediction.label_map])


@pytest.mark.subprocess
def test_files_of_the_machine_stay_there(checkpoint, tmp_path, monkeypatch):
    pytest.importorskip('gradio', reason="gradio is not installed: the extra 'app'")
    secret = photo(tmp_path, 'secret.png', 20, 20, 0)
    own = tmp_path / 'temporary'
    own.mkdir()
    monkeypatch.setenv('TMPDIR', str(own))
    with running_app(checkpoint, '--max-megapixels', '0.001') as url:
        for path in (secret, REPOSITORY / 'setup.cfg', '/etc/hostname', '../setup.cfg'):
            assert status(f'{url}gradio_api/file={path}') == 403
        answer = event(url, dict(path=str(secret), meta=dict(_type='gradio.FileData')))
        assert answer['success'] is False
        assert 'secret' not in json.dumps(answer['output'])
        large = b'x' * 9000
        assert status(f'{url}gradio_api/upload', *form('large.png', large)) == 413
        assert status(f'{url}gradio_api/upload', *form('small.png', large[:7000])) == 200
        (folder,) = own.glob('mmseg_faseg_app_*')
        assert folder.stat().st_mode & 0o077 == 0 and list(folder.rglob('small.png'))
    assert not list(own.glob('mmseg_faseg_app_*'))


def status(url, data=None, headers=None):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data, headers or {})).status
    except urllib.error.HTTPError as error:
        return error.code


def form(name, content):
    """A file as a browser sends it: body and headers."""
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b'\r\n--b--\r\n', {
        'Content-Type': 'multipart/form-data; boundary=b'
    }


def event(url, value):
    """What comes of an upload's event that a program made up."""
    body = json.dumps(dict(data=[value], fn_index=0, session_hash='s')).encode()
    headers = {'Content-Type': 'application/json'}
    assert status(f'{url}gradio_api/queue/join', body, headers) == 200
    with urllib.request.urlopen(f'{url}gradio_api/queue/data?session_hash=s') as stream:
        for line in stream:
            message = json.loads(line.removeprefix(b'data: ')) if line.strip() else {}
            if message.get('msg') == 'process_completed':
                return message
    raise AssertionError('the event never ended')
