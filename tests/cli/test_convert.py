"""``faseg convert`` as it is typed."""

import shlex

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmseg_faseg.cli import app
from tests.helpers import annotations as write

SIZE = (12, 8)
CORNER = [(0, 0), (4, 0), (4, 3), (0, 3)]


@pytest.fixture
def photos(tmp_path):
    """Two photos with annotations in a folder with a space, and one without."""
    for name, label in (('a', 'road'), ('b', 'car')):
        write.write_image(tmp_path / 'my photos' / f'{name}.jpg', SIZE)
        shapes = [
            write.labelme_shape(label, CORNER),
            write.labelme_shape(label, CORNER[:1], 'point'),
        ]
        write.labelme(tmp_path / 'my photos', f'{name}.jpg', SIZE, shapes)
    write.write_image(tmp_path / 'my photos' / 'c.jpg', SIZE)
    return tmp_path / 'my photos'


def faseg(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_it_ends_with_what_to_do_next(photos, tmp_path):
    done = faseg('convert', 'labelme', photos, tmp_path / 'masks')
    assert done.exit_code == 0, done.output
    *lines, last = done.stdout.splitlines()
    assert shlex.split(last) == [
        *('faseg', 'train', str(photos), '--labels', str(tmp_path / 'masks')),
        *('--classes', 'other', 'car', 'road'),
    ]
    assert 'without an area, so not painted: 2 points, lines and the like' in lines
    assert 'nobody drew on, so without a label map: c.jpg' in lines
    assert any('0 other: 87.50% of pixels' in line for line in lines)
    assert any(line.startswith('written   2 label maps') for line in lines)


def test_classes_take_all_words_up_to_the_next_option(photos, tmp_path):
    options = ('--classes', 'other', 'car', '--rest', 'ignore')
    done = faseg('convert', 'labelme', photos, tmp_path / 'masks', *options)
    assert "there is no 'other'" not in done.output  # LabelMe has no list of classes
    assert (tmp_path / 'masks' / 'classes.txt').read_text().split() == ['other', 'car']
    assert 'not among the classes, so ignored: 1 road' in done.stdout
    assert 'never painted: other' in done.stdout


@pytest.mark.parametrize(
    'arguments',
    [
        ('--images', '{photos}', '--classes', 'other', 'car', '--overwrite', 'labelme', '{photos}'),
        ('--classes', 'other', '--classes', 'car', '--', 'labelme', '{photos}'),
        ('labelme', '{photos}', '--classes=other', '--classes', 'car', '--'),
    ],
)
def test_options_may_stand_anywhere(arguments, photos, tmp_path):
    arguments = [word.format(photos=photos) for word in arguments]
    done = faseg('convert', *arguments, tmp_path / 'masks')
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].endswith('--classes other car')


def test_what_is_left_out_is_named_and_told_by_the_exit_status(photos, tmp_path):
    (photos / 'a.json').write_text('{')
    done = faseg('convert', 'labelme', photos, tmp_path / 'masks')
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'left out  {photos}/a.json: is no JSON')
    assert done.stdout.splitlines()[-1].startswith('faseg train')


def test_many_lines_go_to_a_file(photos, tmp_path):
    for number in range(30):
        (photos / f'x{number}.json').write_text('{')
    done = faseg('convert', 'labelme', photos, tmp_path / 'masks')
    assert done.stderr.splitlines()[-1].endswith(
        f'10 more: all of them in {tmp_path}/masks/left_out.txt'
    )
    assert len((tmp_path / 'masks' / 'left_out.txt').read_text().splitlines()) == 30


def test_nothing_to_write_is_an_error(photos, tmp_path):
    for name in 'ab':
        write.write_image(photos / f'{name}.jpg', (5, 5))
    done = faseg('convert', 'labelme', photos, tmp_path / 'masks')
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == 'error: no label map could be written'
    assert not (tmp_path / 'masks').exists()


def test_a_background_without_pixels_can_be_left_out(photos, tmp_path):
    whole = [(0, 0), (12, 0), (12, 8), (0, 8)]
    for name in 'ab':
        write.labelme(photos, f'{name}.jpg', SIZE, [write.labelme_shape('road', whole)])
    done = faseg('convert', 'labelme', photos, tmp_path / 'masks')
    assert "no pixel is 'other': --rest ignore leaves that class out" in done.stdout
    done = faseg(
        'convert', 'labelme', photos, tmp_path / 'masks', '--rest', 'ignore', '--overwrite'
    )
    assert done.stdout.splitlines()[-1].endswith('--classes road')
    assert 'ignore leaves' not in done.stdout


def test_colours_without_a_table_are_listed(tmp_path):
    (tmp_path / 'masks').mkdir()
    colours = np.zeros((4, 10, 3), np.uint8)
    colours[:, :3] = (128, 64, 128)
    Image.fromarray(colours).save(tmp_path / 'masks' / 'a.png')
    (tmp_path / 'masks' / 'b.png').write_text('no picture')
    done = faseg('convert', 'colours', tmp_path / 'masks', tmp_path / 'out')
    assert done.exit_code == 2
    assert done.stdout.splitlines()[1:] == ['  0,0,0          70.000%', '  128,64,128     30.000%']
    assert 'Write a line like road:128,64,128 for each' in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('labelme', 'none', 'out'), 'error: there is no none'),
        (('labelmee', 'none', 'out'), "'labelmee' is not one of"),
        (('labelme', 'none'), "Missing argument 'OUT'"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '200')
    done = faseg('convert', *arguments)
    assert done.exit_code == 2 and message in done.output
