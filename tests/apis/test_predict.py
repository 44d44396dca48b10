"""Files are predicted under their own names; a broken one stops nothing, and what is done stays."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_faseg import Predictor
from mmseg_faseg.apis import predict as module
from mmseg_faseg.apis.area_tables import AreaSum, write_table
from mmseg_faseg.apis.predict import predict
from mmseg_faseg.apis.prediction import Prediction
from mmseg_faseg.apis.prediction_files import save_label_map, save_overlay
from mmseg_faseg.apis.videos import read_frames
from mmseg_faseg.errors import UserError
from tests.helpers.random_checkpoint import CLASSES, PALETTE, picture, save_checkpoint, small_config
from tests.helpers.videos import save_video


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp('model') / 'iter_1.pth', small_config())


@pytest.fixture(scope='module')
def predictor(checkpoint):
    return Predictor(checkpoint, device='cpu')


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(['photos/a.jpg', 'photos/a.png', 'photos/sub/Straße 1.png']):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(40 + seed, 64, seed)).save(name)
    return tmp_path


@pytest.fixture
def broken(photos):
    whole = Path('photos/a.jpg').read_bytes()
    Path('photos/half.jpg').write_bytes(whole[: len(whole) // 2])
    Path('photos/zero.png').touch()
    Path('photos/text.jpg').write_text('hello')
    Path('photos/Thumbs.db').write_text('hello')


def written(folder='out'):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob('*') if path.is_file()} - {
        'predictions.jsonl'
    }


def table(path):
    return list(csv.DictReader(Path(path).read_text(encoding='utf-8').splitlines()))


RESULTS = {
    *('labels/a.jpg.png', 'labels/a.png.png', 'labels/sub/Straße 1.png'),
    *('overlays/a.jpg.jpg', 'overlays/a.png.jpg', 'overlays/sub/Straße 1.jpg'),
}


def test_results_have_the_names_of_their_images(photos, checkpoint, predictor):
    outcome = predict(checkpoint, ['photos'], 'out', areas=['areas.csv', 'areas.json'])
    assert (outcome.done, outcome.failed, outcome.skipped) == (3, [], [])
    assert written() == RESULTS
    rows = table('areas.csv')
    entries = {entry['input']: entry for entry in json.loads(Path('areas.json').read_text())}
    for name, labels in [('a.jpg', 'a.jpg.png'), ('sub/Straße 1.png', 'sub/Straße 1.png')]:
        expected = predictor(f'photos/{name}')
        image = Image.open(f'out/labels/{labels}')
        assert image.mode == 'P'
        assert np.array_equal(np.asarray(image), expected.label_map)
        colours = np.array(PALETTE)[expected.label_map]
        assert np.array_equal(np.asarray(image.convert('RGB')), colours)
        mine = [row for row in rows if row['input'] == f'photos/{name}']
        assert {row['class']: int(row['pixels']) for row in mine} == expected.pixels
        for row in mine:
            assert float(row['share']) == pytest.approx(expected.areas[row['class']], abs=1e-6)
            sure = expected.confidence[row['class']]
            assert float(row['confidence']) == pytest.approx(sure, abs=1e-6)
        entry = entries[f'photos/{name}']
        assert (entry['width'], entry['height']) == expected.label_map.shape[::-1]
        assert [found['class'] for found in entry['classes']] == list(expected.pixels)
        assert set(entry['files']) <= RESULTS
    overlay = np.asarray(Image.open('out/overlays/a.png.jpg')).astype(int)
    assert np.abs(overlay - predictor('photos/a.png').overlay()).mean() < 8


@pytest.mark.parametrize('batch_size', [1, 2, 8])
def test_broken_files_stop_nothing(photos, broken, checkpoint, batch_size, capsys):
    outcome = predict(checkpoint, ['photos'], 'out', batch_size=batch_size)
    assert outcome.done == 3
    assert written() == RESULTS
    assert outcome.skipped == ['photos/Thumbs.db']
    assert sorted(reason.split(' cannot be read')[0] for reason in outcome.failed) == [
        *('photos/half.jpg', 'photos/text.jpg', 'photos/zero.png'),
    ]
    said = capsys.readouterr()
    assert said.out == ''
    assert all(f'failed: {reason}\n' in said.err for reason in outcome.failed)


def test_an_image_that_cannot_be_predicted_stops_nothing(photos, checkpoint, monkeypatch):
    run = Predictor._run

    def fails_on_one(self, inputs, samples):
        if any(image.shape[1] == 41 for image in inputs):
            raise RuntimeError('something\nof PyTorch')
        return run(self, inputs, samples)

    monkeypatch.setattr(Predictor, '_run', fails_on_one)
    outcome = predict(checkpoint, ['photos'], 'out', batch_size=3)
    assert outcome.done == 2
    assert outcome.failed == ['photos/a.png: RuntimeError: something']
    assert written() == {file for file in RESULTS if 'a.png' not in file}


def test_links_to_nowhere_stop_nothing(photos, checkpoint):
    os.symlink('gone.jpg', 'photos/link.jpg')
    outcome = predict(checkpoint, ['photos'], 'out', batch_size=2)
    assert outcome.failed == ['there is no file photos/link.jpg']
    assert written() == RESULTS


def test_animations_say_what_is_taken(photos, checkpoint, capsys):
    frames = [Image.fromarray(picture(32, 40, seed)) for seed in range(2)]
    frames[0].save('photos/z.gif', save_all=True, append_images=frames[1:])
    assert predict(checkpoint, ['photos/z.gif'], 'out').done == 1
    said = capsys.readouterr().err
    assert 'note: photos/z.gif has 2 frames: the first is taken\n' in said


def test_it_goes_on_where_it_stopped(photos, broken, checkpoint, monkeypatch):
    predict(checkpoint, ['photos/a.png'], 'out')  # under another name, which is not photos' own
    assert predict(checkpoint, ['photos'], 'out', resume=True).resumed == 0
    first = {file: Path('out', file).stat().st_mtime_ns for file in written()}
    Path('out/labels/a.png.png').unlink()
    with open('out/predictions.jsonl', 'a') as file:
        file.write('{"input": "photos/sub')  # a disk that was full
    Image.fromarray(picture(33, 33)).save('photos/a.jpg')  # another photo now
    outcome = predict(checkpoint, ['photos'], 'out', resume=True, areas=['areas.csv'])
    assert (outcome.done, outcome.resumed, len(outcome.failed)) == (2, 1, 3)
    kept = {file for file in first if Path('out', file).stat().st_mtime_ns == first[file]}
    assert kept == {'labels/sub/Straße 1.png', 'overlays/sub/Straße 1.jpg'} | (
        {'labels/a.png', 'overlays/a.jpg'}
    )
    assert Image.open('out/labels/a.jpg.png').size == (33, 33)
    inputs = {row['input'] for row in table('areas.csv')}
    assert inputs == {'photos/a.jpg', 'photos/a.png', 'photos/sub/Straße 1.png'}
    for name in ('half.jpg', 'text.jpg', 'zero.png'):
        Path('photos', name).unlink()
    monkeypatch.setattr(module, 'Predictor', None)  # nothing left to do: no model is loaded
    assert predict(checkpoint, ['photos'], 'out', resume=True).resumed == 3
    lines = map(json.loads, Path('out/predictions.jsonl').read_text().splitlines())
    assert {line.get('name') for line in lines} == {None, 'a', 'a.jpg', 'a.png', 'sub/Straße 1'}


@pytest.mark.parametrize('change', [dict(tta=True), dict(tile=32), dict(amp=True)])
def test_it_goes_on_with_the_same_settings_only(photos, checkpoint, change):
    predict(checkpoint, ['photos/a.png'], 'out')
    before = Path('out/predictions.jsonl').read_text()
    (name, value), *_ = change.items()
    with pytest.raises(UserError, match=rf'made with {name} \w+, this is {value}: take another'):
        predict(checkpoint, ['photos'], 'out', resume=True, **change)
    assert Path('out/predictions.jsonl').read_text() == before


def test_it_goes_on_with_the_same_model_only(photos, checkpoint, tmp_path):
    predict(checkpoint, ['photos/a.png'], 'out')
    other = save_checkpoint(tmp_path / 'other.pth', small_config())
    with pytest.raises(UserError, match='made with checkpoint .*iter_1.pth, this is .*other.pth'):
        predict(other, ['photos'], 'out', resume=True)


def test_without_resume_all_is_done_anew(photos, checkpoint):
    predict(checkpoint, ['photos'], 'out')
    outcome = predict(checkpoint, ['photos'], 'out')
    assert (outcome.done, outcome.resumed) == (3, 0)
    assert len(Path('out/predictions.jsonl').read_text().splitlines()) == 4


@pytest.mark.parametrize(('overlays', 'suffix'), [('png', '.png'), ('none', None)])
def test_other_overlays(photos, checkpoint, predictor, overlays, suffix):
    predict(checkpoint, ['photos/a.png'], 'out', overlays=overlays, areas=['out/areas/a.csv'])
    assert written() == {
        'areas/a.csv',
        'labels/a.png',
        *([f'overlays/a{suffix}'] if suffix else []),
    }
    if suffix:
        found = np.asarray(Image.open('out/overlays/a.png'))
        assert np.array_equal(found, predictor('photos/a.png').overlay())


@pytest.mark.parametrize('batch_size', [1, 4])
def test_videos(photos, checkpoint, predictor, batch_size):
    pytest.importorskip('av', reason="PyAV is not installed: pip install 'mmseg_faseg[video]'")
    frames = [picture(48, 64, seed) for seed in range(5)]
    save_video(Path('photos/drive.mp4'), frames)
    save_video(Path('photos/cut.avi'), frames)
    Path('photos/cut.avi').write_bytes(Path('photos/cut.avi').read_bytes()[:300])
    outcome = predict(checkpoint, ['photos'], 'out', areas=['areas.json'], batch_size=batch_size)
    assert outcome.done == 4
    assert len(outcome.failed) == 1 and 'photos/cut.avi cannot be read' in outcome.failed[0]
    assert written() == RESULTS | {'overlays/drive.mp4'}
    seen = [frame.image for frame in read_frames('photos/drive.mp4')]
    found = [frame.image for frame in read_frames('out/overlays/drive.mp4')]
    assert len(found) == len(seen) == 5
    predictions = predictor(seen, channels='rgb')
    for image, prediction in zip(found, predictions, strict=True):
        assert image.shape == found[0].shape and image.shape[0] == 48 and image.shape[1] > 100
        painted = prediction.overlay(legend=False)
        assert np.abs(image[:48, :64].astype(int) - painted).mean() < 12
    entry = {entry['input']: entry for entry in json.loads(Path('areas.json').read_text())}[
        'photos/drive.mp4'
    ]
    assert entry['frames'] == 5
    pixels = {found['class']: found['pixels'] for found in entry['classes']}
    for name in CLASSES:
        assert pixels.get(name, 0) == sum(one.pixels.get(name, 0) for one in predictions)
    assert sum(pixels.values()) == 5 * 48 * 64


def test_the_areas_of_frames_add_up():
    def prediction(pixels, confidence):
        return Prediction(
            np.zeros((1, 4, 3), np.uint8), np.zeros((1, 4)), ('a', 'b'), (), pixels, confidence
        )

    total = AreaSum()
    total.add(prediction(dict(a=3, b=1), dict(a=0.5, b=1.0)))
    total.add(prediction(dict(b=4), dict(b=0.5)))
    assert total.entry() == dict(
        width=4,
        height=1,
        frames=2,
        classes=[
            {'class': 'b', 'share': 0.625, 'pixels': 5, 'confidence': 0.6},
            {'class': 'a', 'share': 0.375, 'pixels': 3, 'confidence': 0.5},
        ],
    )


def test_tables_keep_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b'\xff.jpg')
    entries = [dict(input=name, classes=[dict(share=1, pixels=2, confidence=0.5) | {'class': 'ü'}])]
    write_table(tmp_path / 'a.csv', entries)
    assert (tmp_path / 'a.csv').read_bytes().splitlines()[1] == b'\xff.jpg,\xc3\xbc,1,2,0.5'
    write_table(tmp_path / 'a.json', entries)
    assert json.loads((tmp_path / 'a.json').read_text()) == entries


def test_a_small_share_is_not_none():
    labels = np.zeros((100, 100), np.uint8)
    prediction = Prediction(labels, labels, ('a', 'b'), ((0, 0, 0),) * 2, dict(a=9999, b=1), {})
    assert [prediction.legend_entry(name)[1] for name in 'ab'] == ['a  100.0%', 'b  <0.1%']


def prediction_of(labels, classes):
    size = labels.shape
    return Prediction(np.zeros((*size, 3), np.uint8), labels, classes, ((0, 0, 0),), {}, {})


def test_many_classes_have_label_maps_of_16_bits(tmp_path):
    labels = np.arange(300, dtype=np.uint16).reshape(20, 15)
    save_label_map(tmp_path / 'sub' / 'a.png', prediction_of(labels, ()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'sub' / 'a.png')), labels)


def test_what_is_too_long_for_jpeg_becomes_png(tmp_path):
    labels = np.zeros((1, 66_000), np.uint8)
    file = save_overlay(tmp_path / 'a.jpg', prediction_of(labels, ('a',)))
    assert file == tmp_path / 'a.png'
    assert Image.open(file).size == (66_000, 13)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(inputs=['gone.jpg']), 'there is no file or folder gone.jpg'),
        (dict(inputs=['empty']), 'there is no image or video in empty'),
        (dict(inputs=['nothing']), r'no image or video in nothing \(nothing/Thumbs.db is neither'),
        (dict(overlays='bmp'), "overlays must be one of jpg, png, none, got 'bmp'"),
        (dict(areas=['areas.xls']), '--areas takes a file that ends in .csv or .json'),
        (dict(areas=['photos/a.jpg/areas.csv']), 'the folder of --areas must be a folder'),
        (dict(areas=['table.csv']), '--areas takes a file, got the folder table.csv'),
        (dict(out='photos/a.jpg'), 'out must be a folder'),
        (dict(checkpoint='gone.pth'), 'there is no checkpoint gone.pth'),
        (dict(checkpoint='empty'), 'empty has no checkpoint'),
        (dict(checkpoint='photos/a.jpg'), 'photos/a.jpg'),
        (dict(tile=1), 'tile must be'),
        (dict(device='gpu'), "device 'gpu' cannot be used"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(photos, checkpoint, arguments, message):
    Path('empty').mkdir()
    Path('table.csv').mkdir()
    Path('nothing').mkdir()
    Path('nothing/Thumbs.db').touch()
    arguments = dict(checkpoint=checkpoint, inputs=['photos'], out='out') | arguments
    with pytest.raises(UserError, match=message) as error:
        predict(**arguments)
    assert len(str(error.value).splitlines()) == 1
    assert not Path('out').exists()


def test_videos_without_pyav_are_refused_at_once(photos, checkpoint, monkeypatch):
    Path('photos/a.mp4').touch()
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with pytest.raises(UserError, match=r"pip install 'mmseg_faseg\[video\]'"):
        predict(checkpoint, ['photos'], 'out')
    assert not Path('out').exists()


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_it_ends_at_once(photos, checkpoint, monkeypatch, number):
    save = Image.Image.save

    def refuse(self, path, **options):
        if 'overlays' in str(path) and 'a.png' in str(path):
            Path(path).write_bytes(b'half')
            raise OSError(number, os.strerror(number))
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, 'save', refuse)
    with pytest.raises(
        UserError, match=f'a.png.jpg cannot be written: {os.strerror(number)}: (make|name) '
    ):
        predict(checkpoint, ['photos'], 'out')
    monkeypatch.setattr(Image.Image, 'save', save)
    assert written() == {'labels/a.jpg.png', 'overlays/a.jpg.jpg', 'labels/a.png.png'}
    outcome = predict(checkpoint, ['photos'], 'out', resume=True)
    assert (outcome.done, outcome.resumed) == (2, 1)
    assert written() == RESULTS


def test_ctrl_c_leaves_whole_files(photos, checkpoint, monkeypatch):
    class_map = Predictor._class_map
    calls = []

    def interrupted(self, scores):
        calls.append(scores)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return class_map(self, scores)

    monkeypatch.setattr(Predictor, '_class_map', interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(checkpoint, ['photos'], 'out')
    assert written() == {'labels/a.jpg.png', 'overlays/a.jpg.jpg'}
    assert predict(checkpoint, ['photos'], 'out', resume=True).resumed == 1


def test_a_work_dir_stands_for_its_checkpoint(photos, checkpoint):
    best = torch.load(checkpoint, weights_only=True)
    torch.save(best, checkpoint.parent / 'best_mIoU_iter_1.pth')
    predict(checkpoint.parent, ['photos/a.png'], 'out')
    settings = json.loads(Path('out/predictions.jsonl').read_text().splitlines()[0])
    assert settings['checkpoint'].endswith('best_mIoU_iter_1.pth')
