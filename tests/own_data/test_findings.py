"""What is wrong with folders is found, with the files and what mends it."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mmseg_faseg.errors import UserError
from mmseg_faseg.own_data.classes import Classes
from mmseg_faseg.own_data.examine import examine
from mmseg_faseg.own_data.summary import class_rows, save_page
from tests.helpers.photos import ORIENTATION, make_folders


@pytest.fixture
def folders(tmp_path):
    return make_folders(tmp_path)


def look(folders, classes=('other', 'car'), val='25%', **kwargs):
    photos, masks = folders
    return examine(str(photos), str(masks), classes=classes, val=val, **kwargs)


def findings(examined):
    return {finding.check: finding for finding in examined.findings}


def stops(examined):
    return [finding.check for finding in examined.findings if finding.stops]


def set_labels(folders, number, value, size=(48, 64)):
    Image.fromarray(np.full(size, value, np.uint8)).save(folders[1] / f'p{number}.png')


def test_nothing_is_wrong(folders):
    examined = look(folders)
    assert examined.starts
    assert examined.findings == []
    assert (len(examined.parts.train), len(examined.parts.val)) == (6, 2)


def test_two_classes_in_black_and_white(tmp_path):
    folders = make_folders(tmp_path, values=(0, 255))
    examined = look(folders)
    assert examined.starts
    assert examined.classes.values == (0, 255)
    assert [(row.name, row.value) for row in class_rows(examined)] == [('other', 0), ('car', 255)]
    unnamed = look(folders, classes=None)
    assert '255 can be a class' in findings(unnamed)['black_and_white'].text
    assert '--classes background object' in findings(unnamed)['black_and_white'].mend
    three = look(folders, classes=('other', 'car', 'road'))
    assert stops(three)[0] == 'black_and_white'


def test_255_is_ignored_beside_all_classes(tmp_path):
    examined = look(make_folders(tmp_path, values=(0, 1, 255)))
    assert examined.starts
    assert examined.classes.values is None
    assert class_rows(examined)[-1].name == 'ignored'


def test_values_that_are_no_class(folders):
    set_labels(folders, 3, 2)
    examined = look(folders)
    assert stops(examined) == ['outside']
    found = findings(examined)['outside']
    assert found.files == [str(folders[1] / 'p3.png')]
    assert '--classes other car class2' in found.mend
    set_labels(folders, 3, 9)
    found = findings(look(folders))['outside']
    assert '--classes other car class9 --label-values 0 1 9' in found.mend


@pytest.mark.parametrize('beside', ['other\ncar\n', ''])
def test_values_that_are_no_class_stop_without_names_too(beside, folders):
    if beside:
        (folders[1] / 'classes.txt').write_text(beside)
    deep = np.full((48, 64), 300, np.uint16)
    Image.fromarray(deep).save(folders[1] / 'p3.png')
    examined = look(folders, classes=None)
    assert stops(examined) == ['outside']
    assert findings(examined)['outside'].mend.startswith('classes have values from 0 to 254')
    set_labels(folders, 3, 2)
    assert stops(look(folders, classes=None)) == (['outside'] if beside else [])


@pytest.mark.parametrize('classes', [None, ('other', 'car')])
def test_smoothed_edges_in_black_and_white(classes, tmp_path):
    folders = make_folders(tmp_path, values=(0, 255))
    row, column = np.mgrid[:480, :640]
    disc = 255 * ((row - 200) ** 2 + (column - 300) ** 2 < 150**2).astype(np.uint8)
    smooth = Image.fromarray(disc).filter(ImageFilter.GaussianBlur(1))
    smooth.save(folders[1] / 'p3.png')
    with Image.open(folders[0] / 'p3.jpg') as image:
        image.resize((640, 480)).save(folders[0] / 'p3.jpg')
    examined = look(folders, classes=classes)
    assert stops(examined) == ['smoothed']
    assert findings(examined)['smoothed'].files == [str(folders[1] / 'p3.png')]
    assert look(folders, classes=classes, skip_bad=True).starts


def test_mends_name_all_values_but_the_ignored_one(tmp_path):
    folders = make_folders(tmp_path, values=(0, 7, 11, 255))
    assert findings(look(folders, classes=None))['absent'].mend.endswith('--label-values 0 7 11')
    for number, value in enumerate(range(20, 60, 2)):
        set_labels(folders, number % 8, 0)
        Image.fromarray(np.full((48, 64), value, np.uint8)).save(folders[1] / f'q{number}.png')
        shutil.copy(folders[0] / 'p0.jpg', folders[0] / f'q{number}.jpg')
    found = findings(look(folders, classes=None))['absent']
    assert found.mend.endswith(' '.join(map(str, [0, *range(20, 60, 2)])))
    assert found.text.endswith(', ...')


def test_one_image_is_not_enough(folders):
    for number in range(1, 8):
        (folders[1] / f'p{number}.png').unlink()
    assert stops(look(folders)) == ['too_few']


def test_a_class_that_never_occurs_stops_training(folders):
    examined = look(folders, classes=('other', 'car', 'road', 'sky'))
    assert stops(examined) == ['absent']
    assert "'road', 'sky'" in findings(examined)['absent'].text


def test_a_class_that_only_occurs_in_validation_stops_training(folders, tmp_path):
    set_labels(folders, 3, 2)
    names = tmp_path / 'val.txt'
    names.write_text('p3\n')
    examined = look(folders, classes=('other', 'car', 'road'), val=str(names))
    assert stops(examined) == ['absent']
    assert "no image to train on shows 'road'" in findings(examined)['absent'].text


def test_sizes_and_turned_images(folders):
    photos, _ = folders
    set_labels(folders, 2, 0, size=(40, 64))
    with Image.open(photos / 'p4.jpg') as image:
        exif = image.getexif()
        exif[ORIENTATION] = 6
        image.save(photos / 'p4.jpg', exif=exif)
    with Image.open(photos / 'p5.jpg') as image:
        exif = image.getexif()
        exif[ORIENTATION] = 3
        image.save(photos / 'p5.jpg', exif=exif)
    examined = look(folders)
    small, turned = [one for one in examined.findings if one.check == 'sizes']
    assert 'p2.jpg is 64 x 48' in small.text
    assert 'p2.png is 64 x 40' in small.text
    assert 'EXIF orientation 6' in turned.text
    assert 'p4.jpg' in turned.mend
    assert findings(examined)['orientation'].files == [str(photos / 'p5.jpg')]


def test_colours_name_the_command_that_converts_them(folders):
    _, masks = folders
    Image.fromarray(np.full((48, 64, 3), (200, 0, 16), np.uint8)).save(masks / 'p2.png')
    found = findings(look(folders))['colours']
    assert found.stops
    assert '#c80010' in found.text
    assert found.mend == f'faseg convert colours {masks} masks_ids'


def test_names_that_do_not_match(folders):
    for path in folders[1].iterdir():
        path.rename(path.with_name(f'x{path.name}'))
    examined = look(folders, classes=None)
    assert stops(examined) == ['no_labels']
    assert 'the first ones are p0.jpg and xp0.png' in findings(examined)['no_labels'].text


def test_skipping_leaves_out_what_is_bad_and_no_more(folders):
    photos, masks = folders
    (photos / 'p0.jpg').write_bytes((photos / 'p0.jpg').read_bytes()[:300])
    set_labels(folders, 1, 7)
    shutil.copy(photos / 'p2.jpg', photos / 'p2.jpeg')
    assert set(stops(look(folders))) == {'unreadable', 'outside', 'one_name'}
    examined = look(folders, skip_bad=True)
    assert examined.starts
    used = sorted(examined.parts.train + examined.parts.val)
    assert used == ['p3', 'p4', 'p5', 'p6', 'p7']
    assert {str(photos / 'p0.jpg'), str(masks / 'p1.png')} <= examined.left_out


def test_skipping_does_not_hide_what_no_file_is_to_blame_for(folders):
    assert stops(look(folders, ('other', 'car', 'road'), skip_bad=True)) == ['absent']


def test_look_alikes_on_both_sides_are_told(folders, tmp_path):
    photos, _ = folders
    shutil.copy(photos / 'p1.jpg', photos / 'p6.jpg')
    names = tmp_path / 'val.txt'
    names.write_text('p6\n')
    assert 'p1 and p6' in findings(look(folders, val=str(names)))['look_alike'].text
    assert 'look_alike' not in findings(look(folders))  # a draw keeps them together


def test_classes_are_read_beside_the_label_maps(folders):
    (folders[1] / 'classes.txt').write_text('straße\ncar\n', encoding='utf-8')
    examined = look(folders, classes=None)
    assert examined.classes.names == ('straße', 'car')
    assert examined.findings == []


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [
        (dict(classes=['car']), '--classes background car'),
        (dict(classes=['car', 'car']), "'car' twice"),
        (dict(label_values=[0]), '2 classes, all different, got 0'),
        (dict(label_values=[0, 0]), 'all different, got 0 0'),
        (dict(label_values=[0, 300]), 'from 0 to 255'),
    ],
)
def test_arguments_that_are_wrong(kwargs, text, folders):
    with pytest.raises(UserError, match=text):
        look(folders, **kwargs)


def test_the_page_needs_no_other_file_and_escapes_names(folders, tmp_path):
    set_labels(folders, 3, 7)
    examined = look(folders, classes=('<script>alert(1)</script>', 'car'))
    page = tmp_path / 'page.html'
    save_page(examined, page)
    text = page.read_text()
    assert '<script' not in text
    assert '&lt;script&gt;' in text
    assert 'http' not in text
    assert 'data:image/jpeg;base64,' in text
    assert 'p3.png' in text
    assert 'Training would not start: 1 finding' in text


def test_what_is_no_class_of_interest_is_grey():
    palette = Classes(('other', 'car', 'road')).palette
    assert palette[0] == [110, 110, 110]
    assert len({tuple(colour) for colour in palette}) == 3


def test_images_above_the_limit_of_pil(folders, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert look(folders).starts


def test_a_list_of_classes_in_another_encoding(folders):
    (folders[1] / 'classes.txt').write_bytes('Straße\nAuto\n'.encode('latin-1'))
    with pytest.raises(UserError, match='classes.txt: is no text in UTF-8'):
        look(folders, classes=None)
    (folders[1] / 'classes.txt').write_text('Straße\nAuto\n', encoding='utf-8-sig')
    assert look(folders, classes=None).classes.names == ('Straße', 'Auto')


def test_names_in_no_encoding(folders, tmp_path):
    for folder, suffix in zip(folders, ('.jpg', '.png'), strict=True):
        (folder / f'p0{suffix}').rename(os.fsdecode(os.fsencode(folder) + b'/caf\xe9') + suffix)
    save_page(look(folders), tmp_path / 'page.html')
    assert 'caf?' in (tmp_path / 'page.html').read_text(encoding='utf-8')
