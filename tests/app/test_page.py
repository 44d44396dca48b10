"""The page's events: what each part shows afterwards, and what the page lets a browser do."""

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from mmseg_faseg import Predictor
from mmseg_faseg.app.answers import Answers
from mmseg_faseg.app.scene import part, scene_of
from tests.helpers.random_checkpoint import CLASSES, picture, save_checkpoint, small_config

gradio = pytest.importorskip('gradio', reason="gradio is not installed: the extra 'app'")


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
    file = save_checkpoint(tmp_path_factory.mktemp('model') / 'model.pth', small_config())
    return Answers(Predictor(file, device='cpu'), 20_000)


@pytest.fixture
def events(answers, tmp_path):
    from mmseg_faseg.app.page import Events

    return Events(answers, tmp_path / 'files')


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(picture(60, 90)).save(tmp_path / 'a <b> & c.png')
    return str(tmp_path / 'a <b> & c.png')


def click(x, y):
    return gradio.EventData(None, dict(x=x, y=y))


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(',')[2])))


def test_an_upload_fills_the_page_and_makes_room_for_the_next(events, photo):
    upload, state, message, scene, *files, focus = events.uploaded(photo)
    assert upload is None and focus == ''
    assert state.file == 'a <b> & c.png'
    assert 'a &lt;b&gt; &amp; c.png' in message and '<b> & c' not in message
    assert [line['name'] for line in scene['legend']] == list(state.prediction.pixels)
    assert all(button['interactive'] and button['value'] for button in map(properties, files))


def properties(update):
    return update if isinstance(update, dict) else update.constructor_args


def test_a_bad_upload_leaves_nothing_of_the_one_before(events, photo, tmp_path):
    events.uploaded(photo)
    (tmp_path / '<i>.png').write_text('no picture')
    upload, state, message, scene, *files, focus = events.uploaded(str(tmp_path / '<i>.png'))
    assert (upload, state, scene, focus) == (None, None, None, '')
    assert message == (
        '<p role="alert">&lt;i&gt;.png cannot be read: it is no image of a known kind</p>'
    )
    assert not any(button['interactive'] or button['value'] for button in map(properties, files))
    assert events.uploaded(photo)[1].prediction.label_map.shape == (60, 90)


def test_a_network_that_fails_does_so_once(events, photo, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError('the network failed\nin detail')

    with monkeypatch.context() as broken:
        broken.setattr(events.answers.predictor.model, 'extract_feat', fail)
        message = events.uploaded(photo)[2]
        assert message == '<p role="alert">RuntimeError: the network failed</p>'
        assert 'in detail' in capsys.readouterr().err
    state = events.uploaded(photo)[1]
    with monkeypatch.context() as broken:
        broken.setattr(events.answers.predictor.model, 'extract_feat', fail)
        assert events.clicked(state, click(0.5, 0.5)) == message
    assert 'is due most to query' in events.clicked(state, click(0.5, 0.5))


def test_what_is_odd_about_a_file_is_said(events, tmp_path):
    frames = [Image.fromarray(picture(30, 30, seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / 'moving.gif', save_all=True, append_images=frames[1:])
    message = events.uploaded(str(tmp_path / 'moving.gif'))[2]
    assert '<p role="alert">moving.gif has 2 frames: the first is taken</p>' in message


def test_a_click_shows_text_and_picture(events, photo):
    state = events.uploaded(photo)[1]
    shown = events.clicked(state, click(0.5, 0.5))
    label = CLASSES[state.prediction.label_map[30, 45]]
    assert f'<b>{label} at (45, 30) is due most to query ' in shown
    uri = re.search(r'src="(data:image/png[^"]+)"', shown)[1]
    assert decoded(uri).width > 400


def test_a_click_on_a_picture_that_the_server_forgot(events):
    assert events.clicked(None, click(0.5, 0.5)) == (
        '<p role="alert">the server has forgotten the picture: give it once more</p>'
    )


def test_the_scene_has_the_number_of_every_pixel(events, photo):
    prediction = events.uploaded(photo)[1].prediction
    scene = json.loads(json.dumps(scene_of(prediction)))  # as it travels
    pixels = np.asarray(decoded(scene['labels'])).astype(int)
    assert np.array_equal(pixels[..., 0] + 256 * pixels[..., 1], prediction.label_map)
    assert scene['classes'] == list(CLASSES)
    assert decoded(scene['picture']).size == (90, 60)
    assert sum(float(line['share'].strip('<%')) for line in scene['legend']) == pytest.approx(
        100, abs=0.2
    )


def test_a_large_scene_is_shown_smaller(events, photo, monkeypatch):
    """Of neighbours one is taken: there is no class between 0 and 3."""
    monkeypatch.setattr('mmseg_faseg.app.scene._LONGEST', 45)
    stripes = np.tile(np.uint8([0, 3, 3]), (60, 30))
    prediction = dataclasses.replace(events.uploaded(photo)[1].prediction, label_map=stripes)
    scene = scene_of(prediction)
    assert decoded(scene['picture']).size == decoded(scene['labels']).size == (45, 30)
    assert np.unique(np.asarray(decoded(scene['labels']))[..., 0]).tolist() == [0, 3]


def test_more_than_256_classes(events, photo):
    prediction = events.uploaded(photo)[1].prediction
    many = dataclasses.replace(prediction, label_map=prediction.label_map.astype(np.uint16) + 300)
    pixels = np.asarray(decoded(scene_of(many)['labels'])).astype(int)
    assert np.array_equal(pixels[..., 0] + 256 * pixels[..., 1], many.label_map)


def test_nothing_on_the_page_is_elsewhere(answers):
    from mmseg_faseg.app.page import make_page

    page = make_page(answers, '<model>')
    config = page.get_config_file()
    assert config['analytics_enabled'] is False
    assert not re.search(r'https?://|//[a-z]', ''.join(map(part, ('html', 'css'))))
    assert '&lt;model&gt;' in str(config['components'])
    assert not config['stylesheets']
    turns = [(fn.concurrency_limit, fn.concurrency_id) for fn in page.fns.values()]
    assert turns == [(1, 'model'), (1, 'model')]
    assert page.get_api_info()['named_endpoints'] == {}
