"""What the page asks of a model: answered, or refused in a line that names the picture."""

import struct
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmseg_faseg import Predictor
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.app.answers import Answers
from mmseg_faseg.errors import UserError
from tests.helpers.configs import load
from tests.helpers.random_checkpoint import CLASSES, picture, save_checkpoint, small_config

MAX_PIXELS = 20_000


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp('model') / 'model.pth', small_config())


@pytest.fixture(scope='module')
def answers(checkpoint):
    return Answers(Predictor(checkpoint, device='cpu'), MAX_PIXELS)


def saved(folder, name, pixels=None, **options):
    Image.fromarray(picture(60, 90) if pixels is None else pixels).save(folder / name, **options)
    return str(folder / name)


def test_a_photo_is_predicted_as_elsewhere(answers, checkpoint, tmp_path):
    photo = answers.predict(saved(tmp_path, 'Straße 1.png'))
    found = Predictor(checkpoint, device='cpu')(tmp_path / 'Straße 1.png')
    assert photo.file == 'Straße 1.png' and photo.notes == []
    assert np.array_equal(photo.prediction.label_map, found.label_map)
    assert len(found.pixels) > 1  # of several classes, or the tests here see nothing


def test_files_have_the_name_of_the_photo(answers, tmp_path):
    photo = answers.predict(saved(tmp_path, 'a.b.jpg'))
    (tmp_path / 'out').mkdir()
    labels, overlay, areas = photo.save(tmp_path / 'out')
    assert [file.name for file in (labels, overlay, areas)] == [
        'a.b.png',
        'a.b_overlay.jpg',
        'a.b_areas.csv',
    ]
    assert np.array_equal(np.asarray(Image.open(labels)), photo.prediction.label_map)
    width, height = Image.open(overlay).size
    assert height >= 60 and width > 90  # with a legend
    table = areas.read_text().splitlines()
    assert table[0] == 'input,class,share,pixels,confidence'
    assert len(table) == 1 + len(photo.prediction.pixels)
    assert all(line.startswith('a.b.jpg,') for line in table[1:])


@pytest.mark.parametrize('base', ['faseg_toy', 'mask2former_toy'])
def test_a_click_names_the_query_that_adds_most(base, tmp_path):
    """Masks times class probabilities, of every query, at the pixel."""
    model = save_checkpoint(tmp_path / 'model.pth', small_config(base))
    answers = Answers(Predictor(model, device='cpu'), MAX_PIXELS)
    photo = answers.predict(saved(tmp_path, 'photo.png'))
    labels = photo.prediction.label_map
    record = answers._view(photo).recorded
    logits = F.interpolate(record.mask_logits, record.size, mode='bilinear', align_corners=False)
    queries = set()
    for row, column in ((0, 0), (59, 89), (30, 44), (10, 80)):
        label = labels[row, column]
        adds = logits[0, :, row, column].sigmoid() * record.class_probs[0, :, label]
        best = int(adds.argmax())
        found = answers.explain(photo, (column + 0.5) / 90, (row + 0.5) / 60)
        assert found.text.startswith(
            f'{CLASSES[label]} at ({column}, {row}) is due most to query {best}, '
        )
        assert found.picture.png.startswith(b'\x89PNG')
        queries.add(best)
    assert len(queries) > 1


def test_clicks_on_a_photo_run_the_network_once(answers, tmp_path, monkeypatch):
    first, second = (
        answers.predict(saved(tmp_path, f'{seed}.png', picture(60, 90, seed))) for seed in (1, 2)
    )
    forward, runs = answers.predictor.model.extract_feat, []
    monkeypatch.setattr(
        answers.predictor.model, 'extract_feat', lambda x: runs.append(x) or forward(x)
    )
    texts = [answers.explain(photo, 0.3, 0.7).text for photo in (first, first, second, first)]
    assert len(runs) == 3  # the first two are one run
    assert texts[0] == texts[1] == texts[3]


def test_places_outside_are_at_the_edge(answers, tmp_path):
    photo = answers.predict(saved(tmp_path, 'photo.png'))
    assert ' at (89, 59) ' in answers.explain(photo, 1.0, 7.0).text
    assert ' at (0, 0) ' in answers.explain(photo, -1.0, -0.1).text


def test_large_photos_are_explained_at_a_smaller_size(answers, tmp_path, monkeypatch):
    monkeypatch.setattr('mmseg_faseg.apis.explainer.LONGEST', 45)
    photo = answers.predict(saved(tmp_path, 'photo.png'))
    assert ' at (80, 50) ' in answers.explain(photo, 80.5 / 90, 50.5 / 60).text
    assert answers._view(photo).image_size == (30, 45)


def small_png_of(width, height):
    """A PNG that says that it is so large, and has no pixels."""
    chunks = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0), b'IDAT'
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk))
        for chunk in chunks
    )


def test_bad_files_are_refused_in_a_line_and_the_next_is_predicted(answers, tmp_path):
    good = saved(tmp_path, 'good.jpg')
    (tmp_path / 'text.png').write_text('no picture')
    (tmp_path / 'empty.jpg').touch()
    half = (tmp_path / 'good.jpg').read_bytes()
    (tmp_path / 'half.jpg').write_bytes(half[: len(half) // 2])
    (tmp_path / 'bomb.png').write_bytes(small_png_of(100_000, 100_000))
    saved(tmp_path, 'large.png', picture(200, 101))
    for name, reason in (
        ('text.png', 'text.png cannot be read: it is no image of a known kind'),
        ('empty.jpg', 'empty.jpg cannot be read: it is empty'),
        ('half.jpg', 'half.jpg cannot be read: '),
        ('bomb.png', 'bomb.png has 100000 x 100000 pixels, 20,000 are the most'),
        ('large.png', 'large.png has 101 x 200 pixels, 20,000 are the most'),
        ('none.png', 'there is no file none.png'),
    ):
        with pytest.raises(UserError) as caught:
            answers.predict(str(tmp_path / name))
        assert str(caught.value).startswith(reason)
        assert '\n' not in str(caught.value) and str(tmp_path) not in str(caught.value)
        assert answers.predict(good).prediction.label_map.shape == (60, 90)


def test_16_bits_animations_and_alpha(answers, tmp_path):
    grey = picture(40, 50)[..., 0]
    same = answers.predict(saved(tmp_path, '8.png', grey)).prediction
    deep = answers.predict(saved(tmp_path, '16.png', grey.astype(np.uint16) * 257)).prediction
    assert np.array_equal(same.label_map, deep.label_map)
    frames = [Image.fromarray(picture(40, 50, seed)) for seed in (1, 2, 3)]
    frames[0].save(tmp_path / 'moving.gif', save_all=True, append_images=frames[1:])
    photo = answers.predict(str(tmp_path / 'moving.gif'))
    assert photo.notes == ['moving.gif has 3 frames: the first is taken']
    Image.fromarray(picture(40, 50)).convert('RGBA').save(tmp_path / 'alpha.png')
    assert answers.predict(str(tmp_path / 'alpha.png')).notes == []


@pytest.mark.parametrize('size', [(1, 1), (1, 5000), (5000, 1)])
def test_thin_photos(size, answers, tmp_path):
    photo = answers.predict(saved(tmp_path, 'thin.png', picture(*size)))
    assert photo.prediction.label_map.shape == size
    assert answers.explain(photo, 0.5, 0.5).picture.png


def test_models_without_queries_predict_all_the_same(tmp_path):
    cfg = load('faseg_toy')
    cfg.model.type = 'EncoderDecoder'
    cfg.model.decode_head = dict(
        type='FCNHead', in_channels=256, in_index=3, channels=8, num_classes=3, num_convs=1
    )
    state = build_model(cfg).state_dict()
    torch.save(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)), tmp_path / 'model.pth')
    answers = Answers(Predictor(tmp_path / 'model.pth', device='cpu'), MAX_PIXELS)
    photo = answers.predict(saved(tmp_path, 'photo.png'))
    with pytest.raises(UserError, match='model.pth cannot be explained: only FASegHead.* FCNHead'):
        answers.explain(photo, 0.5, 0.5)
