"""Converting annotations: names, images, classes; what is wrong is left out and named."""

import json
import os
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_faseg.apis.convert_labels import convert_labels
from mmseg_faseg.datasets import FolderDataset
from mmseg_faseg.errors import UserError
from mmseg_faseg.labels.maps import palette_of
from tests.helpers import annotations as write

SIZE = (12, 8)
CORNER = [(0, 0), (4, 0), (4, 3), (0, 3)]  # the top left


def draw(root, name, label='road', size=SIZE, points=CORNER, orientation=1, **more):
    """An image below ``root`` and LabelMe's file beside it."""
    write.write_image(root / name, size, orientation)
    return write.labelme(root, name, size, [write.labelme_shape(label, points)], **more)


@pytest.fixture
def photos(tmp_path):
    draw(tmp_path / 'photos', 'a.png')
    draw(tmp_path / 'photos', 'b.png', 'car')
    return tmp_path / 'photos'


def left_out(done):
    (line,) = done.left_out
    assert '\n' not in line
    return line


# Names


def test_label_maps_lie_as_the_images_do_and_train(tmp_path):
    photos, masks = tmp_path / 'photos', tmp_path / 'masks'
    for name in ('Tür 1/ä b.jpg', 'Tür 2/ä b.jpg', 'x.y.jpg', 'UPPER.JPG'):
        draw(photos, name, label='größer als 1')
    done = convert_labels('labelme', photos, masks)
    assert done.left_out == [] and len(done.written) == 4
    assert (masks / 'classes.txt').read_text('utf-8') == 'other\ngrößer als 1\n'
    data = FolderDataset(
        data_prefix=dict(img_path=str(photos), seg_map_path=str(masks)), pipeline=[]
    )
    pairs = {(os.path.relpath(e['img_path'], photos), e['seg_map_path']) for e in data}
    assert pairs == {(name, str(path)) for path, name in done.written.items()}
    for path in done.written:
        labels = write.labels_in(path)
        assert labels[:3, :4].min() == 1 and labels.sum() == 12
    with Image.open(path) as image:
        assert image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]


def test_decomposed_letters_and_backslashes_are_the_same_name(tmp_path):
    write.write_image(tmp_path / 'images' / 'Zu\u0308ge' / 'a.png', SIZE)  # as macOS writes ü
    images = {'C:\\data\\Z\u00fcge\\a.png': SIZE}
    source = write.coco(tmp_path / 'a.json', images, {})
    content = json.loads(source.read_text())
    source.write_text(json.dumps(content | dict(categories=[dict(id=1, name='road')])))
    done = convert_labels('coco', source, tmp_path / 'masks')
    assert list(done.written.values()) == ['Zu\u0308ge/a.png']


def test_a_name_alone_is_found_below_and_must_be_the_only_one(tmp_path):
    for name in ('x/a.png', 'y/a.png', 'y/b.png'):
        write.write_image(tmp_path / 'images' / name, SIZE)
    names = ('b.png', 'a.png', 'z/b.png')
    source = write.coco(
        tmp_path / 'a.json', dict.fromkeys(names, SIZE), {'b.png': [('road', [[0, 0, 9, 0, 9, 9]])]}
    )
    done = convert_labels('coco', source, tmp_path / 'masks')
    assert list(done.written.values()) == ['y/b.png']
    assert 'a.png may be any of x/a.png, y/a.png' in done.left_out[0]
    assert 'there is no image z/b.png' in done.left_out[1]  # that of y is another
    assert done.without_drawing == ['x/a.png', 'y/a.png']
    assert (tmp_path / 'masks' / 'left_out.txt').read_text().splitlines() == done.left_out


def test_one_label_map_has_one_image_and_one_annotation(photos, tmp_path):
    write.write_image(photos / 'a.jpg', SIZE)
    write.labelme(photos, 'a.jpg', SIZE, [], imagePath='a.jpg').rename(photos / 'c.json')
    write.labelme(photos, 'b.png', SIZE, []).rename(photos / 'd.json')
    draw(photos, 'a.png')
    draw(photos, 'b.png')
    done = convert_labels('labelme', photos, tmp_path / 'masks')
    assert sorted(done.written.values()) == ['a.png', 'b.png']
    assert 'c.json: a.jpg and a.png would have one label map' in done.left_out[0]
    assert 'd.json: b.png has a label map already' in done.left_out[1]


# Sizes


@pytest.mark.parametrize('tag', range(1, 9))
@pytest.mark.parametrize('drawn_on', ['upright', 'stored'])
def test_sizes_tell_whether_it_was_drawn_on_the_turned_image(tag, drawn_on, tmp_path):
    """Training turns images by their tag: that is where the label map has to fit."""
    stored = np.zeros((8, 12, 3), np.uint8)
    stored[:3, :4] = 255
    file = tmp_path / 'photos' / 'a.png'
    write.write_image(file, SIZE, tag)
    with Image.open(file) as image:
        exif = image.getexif()
    Image.fromarray(stored).save(file, exif=exif)
    upright = cv2.imread(str(file))[..., 0] > 0
    y, x = np.nonzero(upright if drawn_on == 'upright' else stored[..., 0])
    box = [(x.min(), y.min()), (x.max() + 1, y.max() + 1)]
    size = upright.shape[::-1] if drawn_on == 'upright' else SIZE
    shape = write.labelme_shape('road', np.array(box).tolist(), 'rectangle')
    write.labelme(tmp_path / 'photos', 'a.png', size, [shape])
    done = convert_labels('labelme', tmp_path / 'photos', tmp_path / 'masks')
    assert done.untold == (['a.png'] if tag in (2, 3, 4) else [])
    if drawn_on == 'upright' or tag not in (2, 3, 4):
        assert (write.labels_in(tmp_path / 'masks' / 'a.png') == upright).all()


def test_without_a_size_the_upright_image_has_it(tmp_path):
    write.write_image(tmp_path / 'photos' / 'a.png', SIZE, 6)
    write.labelme(tmp_path / 'photos', 'a.png', None, [write.labelme_shape('road', CORNER)])
    convert_labels('labelme', tmp_path / 'photos', tmp_path / 'masks')
    labels = write.labels_in(tmp_path / 'masks' / 'a.png')
    assert labels.shape == (12, 8) and labels[:3, :4].min() == 1


# Classes


@pytest.mark.parametrize(
    ('classes', 'rest', 'names', 'values'),
    [
        (None, None, ['other', 'car', 'road'], (2, 1, 0)),
        (['other', 'road', 'car'], None, ['other', 'road', 'car'], (1, 2, 0)),
        (['road', 'car'], None, ['other', 'road', 'car'], (1, 2, 0)),
        (['Background', 'car'], None, ['Background', 'car'], (0, 1, 0)),
        (['road', 'car', 'nothing'], 'nothing', ['road', 'car', 'nothing'], (0, 1, 2)),
        (['road', 'car'], 'ignore', ['road', 'car'], (0, 1, 255)),
        (['car'], 'ignore', ['car'], (255, 0, 255)),
        (None, 'road', ['road', 'car'], (0, 1, 0)),
        (['other', 'car', 'lorry'], None, ['other', 'car', 'lorry'], (0, 1, 0)),
    ],
)
def test_classes_and_what_nobody_painted(classes, rest, names, values, photos, tmp_path):
    done = convert_labels('labelme', photos, tmp_path / 'masks', classes=classes, rest=rest)
    assert done.classes == names
    found = [write.labels_in(tmp_path / 'masks' / f'{name}.png') for name in 'ab']
    assert (found[0][0, 0], found[1][0, 0], found[0][7, 11]) == values
    assert done.unlisted == ({} if classes is None or 'road' in classes else {'road': 1})


def test_a_class_named_background_is_what_nobody_painted(photos, tmp_path):
    draw(photos, 'c.png', '_background_')
    draw(photos, 'd.png', '__ignore__')
    done = convert_labels('labelme', photos, tmp_path / 'masks')
    assert done.classes == ['_background_', 'car', 'road']
    assert write.labels_in(tmp_path / 'masks' / 'c.png').max() == 0
    assert set(np.unique(write.labels_in(tmp_path / 'masks' / 'd.png'))) == {0, 255}


def test_what_is_not_listed_hides_what_lies_below(photos, tmp_path):
    shapes = [write.labelme_shape(name, CORNER) for name in ('road', 'person')]
    write.labelme(photos, 'a.png', SIZE, shapes)
    done = convert_labels('labelme', photos, tmp_path / 'masks', classes=['other', 'road'])
    assert write.labels_in(tmp_path / 'masks' / 'a.png').max() == 0
    assert done.unlisted == {'person': 1, 'car': 1}


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (['other', 'raod'], "there is no 'raod', did you mean 'road'"),
        (['other', 'Road'], "there is no 'Road', did you mean 'road'"),
        (['other', 'car', 'car'], "'car' twice"),
    ],
)
def test_classes_that_are_slips(classes, message, photos, tmp_path):
    with pytest.raises(UserError, match=message):
        convert_labels('labelme', photos, tmp_path / 'masks', classes=classes)
    assert not (tmp_path / 'masks').exists()


def test_classes_that_a_format_has_not(photos, tmp_path):
    source = write.coco(tmp_path / 'a.json', {'a.png': SIZE}, {'a.png': [('road', [])]})
    with pytest.raises(UserError, match="there is no 'lorry': there are road"):
        convert_labels('coco', source, tmp_path / 'masks', classes=['lorry'], images=photos)


@pytest.mark.parametrize('name', ['', ' ', 'two\nlines', '\x1b[31mred'])
def test_names_that_a_list_cannot_hold(name, photos, tmp_path):
    draw(photos, 'a.png', name)
    with pytest.raises(UserError, match='is no name of a class') as caught:
        convert_labels('labelme', photos, tmp_path / 'masks')
    assert str(caught.value).isprintable()


def test_a_line_about_a_file_is_one_line(photos, tmp_path):
    draw(photos, 'a.png', 'two\nlines', points=[(1e9, 0)] * 3)
    done = convert_labels('labelme', photos, tmp_path / 'masks', classes=['other', 'car'])
    assert 'two lines): the point (1e+09, 0)' in left_out(done)


def test_more_classes_than_eight_bits_have(tmp_path):
    shapes = [write.labelme_shape(str(number), CORNER) for number in range(255)]
    write.write_image(tmp_path / 'photos' / 'a.png', SIZE)
    write.labelme(tmp_path / 'photos', 'a.png', SIZE, shapes)
    with pytest.raises(UserError, match='256 classes do not fit'):
        convert_labels('labelme', tmp_path / 'photos', tmp_path / 'masks')


def test_colours_are_those_of_pascal_voc():
    classes = list(map(str, range(16)))
    palette = palette_of(classes, {'3': (1, 2, 3)})
    assert palette[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (1, 2, 3)]
    assert palette[15] == (192, 128, 128) and len(set(palette)) == 16


# The folder that is written to


def test_what_is_there_is_not_written_over_unless_asked(photos, tmp_path):
    masks = tmp_path / 'masks'
    convert_labels('labelme', photos, masks)
    with pytest.raises(UserError, match='masks is not empty: --overwrite'):
        convert_labels('labelme', photos, masks)
    (photos / 'b.json').unlink()
    done = convert_labels('labelme', photos, masks, overwrite=True)
    assert list(done.written.values()) == ['a.png'] and done.older == [masks / 'b.png']


def test_a_folder_that_cannot_be_written_to_stops_it(photos, tmp_path):
    (tmp_path / 'masks' / 'b.png').mkdir(parents=True)  # in the place of a label map
    with pytest.raises(UserError, match='b.png cannot be written'):
        convert_labels('labelme', photos, tmp_path / 'masks', overwrite=True)
    assert write.labels_in(tmp_path / 'masks' / 'a.png').max() == 2
    (tmp_path / 'x').write_text('')
    with pytest.raises(UserError, match='OUT must be a folder'):
        convert_labels('labelme', photos, tmp_path / 'x' / 'masks')


@pytest.mark.parametrize('overwrite', [True, False])
def test_images_are_never_written_over(overwrite, photos, tmp_path):
    before = (photos / 'a.png').read_bytes()
    for out in (photos, tmp_path / 'photos' / '.', tmp_path / 'link'):
        if not out.exists():
            out.symlink_to(photos)
        with pytest.raises(UserError):
            convert_labels('labelme', photos, out, overwrite=overwrite)
    assert (photos / 'a.png').read_bytes() == before


def test_label_maps_below_the_images_are_no_images(photos):
    for _ in range(2):
        done = convert_labels('labelme', photos, photos / 'masks', overwrite=True)
        assert sorted(done.written.values()) == ['a.png', 'b.png'] and done.without_drawing == []


@pytest.mark.parametrize(
    ('form', 'source', 'message'),
    [
        ('labelme', 'none', 'there is no .*none'),
        ('labelme', 'empty', 'empty has no files that end in .json'),
        ('coco', 'a.zip', 'a.zip is an archive'),
        ('colours', 'photos', 'there is no labelmap.txt in .*photos'),
        ('cvat', 'photos', 'photos has no files that end in .xml'),
        ('yolo', 'photos', 'photos has no data.yaml with names'),
        ('pascal', 'photos', "no format 'pascal': labelme, coco"),
    ],
)
def test_sources_that_are_none(form, source, message, photos, tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'a.zip').write_bytes(b'PK')
    with pytest.raises(UserError, match=message):
        convert_labels(form, tmp_path / source, tmp_path / 'masks')


def test_images_that_are_nowhere(tmp_path):
    write.labelme(tmp_path / 'x', 'a.png', SIZE, [write.labelme_shape('road', CORNER)])
    with pytest.raises(UserError, match='no images in .*x, .*images: say where they are, --images'):
        convert_labels('labelme', tmp_path / 'x', tmp_path / 'masks')
    with pytest.raises(UserError, match='--images: there is no folder'):
        convert_labels('labelme', tmp_path / 'x', tmp_path / 'masks', images=tmp_path / 'none')


# What is wrong with single files


def a_shape(**change):
    return json.dumps(
        dict(shapes=[write.labelme_shape('car', CORNER) | change], imagePath='a.png')
        | dict(imageWidth=12, imageHeight=8)
    )


LABELME = {
    'is no JSON that can be read': '{"shapes": [',
    'is no JSON that can be read (max': '[' * 100_000,
    "an object with 'shapes' is needed": '[]',
    "'shapes' must be a list, got {}": '{"shapes": {}}',
    "'label' must be a text": a_shape(label=3),
    "'imageWidth' must be a whole number": '{"shapes": [], "imageWidth": "wide"}',
    'points must be pairs of numbers': a_shape(points=[[1, 2, 3], [4, 5]]),
    'points must be pairs of numbers, got': a_shape(points=[['x', 'y']] * 3),
    'points must be finite numbers': a_shape(points=[[1, 2], [3, float('inf')], [4, 5]]),
    'the point (1e+18, 5) is far outside': a_shape(points=[[1, 2], [1e18, 5], [4, 5]]),
    "'star' is no shape of LabelMe": a_shape(shape_type='star'),
    'a rectangle has two points, got 4': a_shape(shape_type='rectangle'),
    "'mask' must be a text": a_shape(shape_type='mask', points=CORNER[:2]),
    "'mask' is no base64": a_shape(shape_type='mask', points=CORNER[:2], mask='§'),
    'cannot be read (UnidentifiedImageError': a_shape(
        shape_type='mask', points=CORNER[:2], mask='aaaa'
    ),
    'at (0, 0) is not inside 12 x 8': a_shape(
        shape_type='mask', points=CORNER[:2], mask=write.base64_png(np.ones((9, 9), np.uint8))
    ),
    'was drawn on at 999999999 x 999999999': '{"shapes": [], "imageWidth": 999999999, '
    '"imageHeight": 999999999}',
    'is no text in UTF-8': b'\xff\xfe{}',
}


@pytest.mark.parametrize('message', LABELME)
def test_a_broken_file_of_labelme_is_left_out(message, photos, tmp_path):
    content = LABELME[message]
    (photos / 'a.json').write_bytes(content if isinstance(content, bytes) else content.encode())
    done = convert_labels('labelme', photos, tmp_path / 'masks')
    assert message in left_out(done) and str(photos / 'a.json') in left_out(done)
    assert list(done.written.values()) == ['b.png']


def coco_file(tmp_path, segmentation=((0, 0, 4, 0, 4, 3),), **change):
    images = {'a.png': SIZE, 'b.png': SIZE}
    entries = {'a.png': [('road', segmentation)], 'b.png': [('car', [[0, 0, 4, 0, 4, 3]])]}
    source = write.coco(tmp_path / 'a.json', images, entries)
    content = json.loads(source.read_text())
    content['annotations'][0] |= change.pop('annotation', {})
    content['images'][0] |= change.pop('image', {})
    source.write_text(json.dumps(content | change))
    return source


def runs(counts, size=(8, 12)):
    return dict(segmentation=dict(size=list(size), counts=counts))


COCO = {
    'there is no category 77': dict(annotation=dict(category_id=77)),
    "'category_id' must be a whole number": dict(annotation=dict(category_id='road')),
    "'segmentation' must be an object": dict(annotation=dict(segmentation=5)),
    'runs must be of size [8, 12], got [12, 8]': dict(annotation=runs([96], (12, 8))),
    'runs of 95 pixels do not make 12 x 8': dict(annotation=runs([90, 5])),
    'runs of 2 pixels do not make 12 x 8': dict(annotation=runs('11')),
    'runs must be numbers of pixels, got -4': dict(annotation=runs([100, -4])),
    "runs must be numbers of pixels, got 'x'": dict(annotation=runs(['x'])),
    "'counts' must be a list or a text": dict(annotation=runs(None)),
    'counts are no compressed runs': dict(annotation=runs('ä')),
    'counts are no compressed runs of COCO': dict(annotation=runs('o' * 40)),
    'counts end within a run': dict(annotation=runs('o')),
    'is too long': dict(annotation=dict(segmentation=[[-12, 0, 24, 16] * 100_000])),
    "'file_name' must be a text": dict(image=dict(file_name=None)),
    'a picture of 10000000 x 8 pixels': dict(image=dict(width=10**7)),
    'a picture of 0 x 8 pixels': dict(image=dict(width=0)),
    'a.png is 12 x 8 (width x height), but was drawn on at 24 x 16': dict(
        image=dict(width=24, height=16)
    ),
}


@pytest.mark.parametrize('message', COCO)
def test_a_broken_entry_of_coco_is_left_out(message, photos, tmp_path):
    source = coco_file(tmp_path, **COCO[message])
    done = convert_labels('coco', source, tmp_path / 'masks', images=photos)
    assert message in left_out(done) and str(source) in left_out(done)
    assert list(done.written.values()) == ['b.png']


def test_annotations_of_images_that_coco_does_not_list(photos, tmp_path):
    source = coco_file(tmp_path)
    content = json.loads(source.read_text())
    del content['images'][0]
    source.write_text(json.dumps(content))
    done = convert_labels('coco', source, tmp_path / 'masks', images=photos)
    assert 'annotations of 1 images that the file does not list' in left_out(done)
    assert list(done.written.values()) == ['b.png']


@pytest.mark.parametrize('content', ['{}', '[]', '{"images": 3}', 'x', '{"annotations": [3]}'])
def test_a_file_that_is_not_cocos(content, photos, tmp_path):
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(UserError, match='a.json: '):
        convert_labels('coco', tmp_path / 'a.json', tmp_path / 'masks', images=photos)


YOLO = {
    'line 2: must be numbers': '0 0 0 1 0 1 1\nroad 0 0 1 0 1 1',
    'line 1: must be a class and pairs': '0 0 0 1',
    'line 1: must be a class and pairs of numbers': '0 0 0 1 0 1 nan',
    'there is no class 7: names are given for 0 to 1': '7 0 0 1 0 1 1',
    'there is no class 0.5': '0.5 0 0 1 0 1 1',
    'the point (1.2e+09, 0) is far outside': '0 0 0 1e8 0 1 1',
}


@pytest.mark.parametrize('message', YOLO)
def test_a_broken_file_of_yolo_is_left_out(message, photos, tmp_path):
    write.yolo(tmp_path, 'b.png', SIZE, [('road', CORNER)], ['road', 'car'])
    (tmp_path / 'labels' / 'a.txt').write_text(YOLO[message])
    done = convert_labels('yolo', tmp_path, tmp_path / 'masks', images=photos)
    assert message in left_out(done) and 'a.txt' in left_out(done)
    assert list(done.written.values()) == ['b.png']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: [', 'is no YAML'),
        ('!!python/object/apply:os.getcwd []', 'is no YAML'),
        ('names: {0: road, 2: car}', 'numbered from 0'),
        ('names: 3', 'no data.yaml with names'),
    ],
)
def test_names_of_yolo_that_cannot_be_read(text, message, photos, tmp_path):
    write.yolo(tmp_path, 'b.png', SIZE, [('road', CORNER)], ['road', 'car'])
    (tmp_path / 'data.yaml').write_text(text)
    with pytest.raises(UserError, match=message):
        convert_labels('yolo', tmp_path, tmp_path / 'masks', images=photos)


CVAT = {
    'polygon None: has no label': '<polygon points="0,0;1,1;1,2"/>',
    'points must be pairs of numbers': '<polygon label="car" points="0,0;1,1;1"/>',
    "points must be pairs of numbers, got [['']]": '<polygon label="car"/>',
    "xbr must be a number, got 'nan'": '<box label="car" xtl="0" ytl="0" xbr="nan" ybr="2"/>',
    'xtl must be a number, got None': '<box label="car"/>',
    'is no shape of CVAT': '<star label="car"/>',
    'of 9 x 9 at (6, 0) is not inside 12 x 8': '<mask label="car" rle="81" left="6" top="0" '
    'width="9" height="9"/>',
    'runs of 3 pixels do not make 2 x 2': '<mask label="car" rle="1,2" left="0" top="0" '
    'width="2" height="2"/>',
    'has no runs that can be read': '<mask label="car" left="0" top="0" width="2" height="2"/>',
    'z_order must be a whole number': '<polygon label="car" points="0,0;1,1;1,2" z_order="0.5"/>',
}


@pytest.mark.parametrize('message', CVAT)
def test_a_broken_shape_of_cvat_is_left_out(message, photos, tmp_path):
    elements = {'a.png': [CVAT[message]], 'b.png': write.cvat_polygons([('car', CORNER)])}
    source = write.cvat(tmp_path / 'a.xml', dict.fromkeys(elements, SIZE), elements)
    done = convert_labels('cvat', source, tmp_path / 'masks', images=photos)
    assert message in left_out(done) and 'a.png' in left_out(done)
    assert list(done.written.values()) == ['b.png']


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>'
FILE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (LAUGHS, 'declares a document type'),
        (FILE, 'declares a document type'),
        ('<annotations>', 'is no XML that can be read'),
        ('<?xml version="1.0" encoding="no-such"?><a/>', 'is no XML that can be read'),
        ('<annotation><object/></annotation>', 'is not of CVAT: it has <annotation>'),
        ('<annotations><track/></annotations>', 'is "CVAT for video"'),
        ('<a>' * 200_000, 'is no XML that can be read'),
        ('<a>' * 200_000 + '</a>' * 200_000, 'is not of CVAT'),
    ],
)
def test_xml_that_is_not_cvats(content, message, photos, tmp_path):
    (tmp_path / 'a.xml').write_text(content)
    with pytest.raises(UserError, match=f'a.xml: {message}'):
        convert_labels('cvat', tmp_path / 'a.xml', tmp_path / 'masks', images=photos)


@pytest.mark.parametrize(
    ('content', 'message'),
    [(b'', 'UnidentifiedImageError'), (b'GIF89a', ''), (None, 'Truncated|truncated')],
)
def test_a_broken_image_is_left_out(content, message, photos, tmp_path):
    before = (photos / 'a.png').read_bytes()
    (photos / 'a.png').write_bytes(before[:20] if content is None else content)
    done = convert_labels('labelme', photos, tmp_path / 'masks')
    assert 'a.png: cannot be read' in left_out(done)
    assert list(done.written.values()) == ['b.png']


def test_pictures_that_memory_cannot_hold_are_not_decoded(photos, tmp_path):
    header = bytearray(write.png(np.zeros((1, 1), np.uint8)))
    header[16:24] = (60_000).to_bytes(4, 'big') * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, 'big')
    (photos / 'a.png').write_bytes(header)
    done = convert_labels('labelme', photos, tmp_path / 'masks')
    assert 'a.png: a picture of 60000 x 60000 pixels' in left_out(done)
    assert Image.MAX_IMAGE_PIXELS is not None
