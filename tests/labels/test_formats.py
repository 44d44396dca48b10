"""Whatever the format, the same annotation gives the same label map."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mmseg_faseg.apis.convert_labels import convert_labels
from mmseg_faseg.errors import UserError
from tests.helpers import annotations as write

SIZE = (64, 32)  # powers of two: shares of them are exact
# Axis-parallel: what is right follows from the coordinates alone.
BLOCKS = (
    ('road', [(0, 16), (64, 16), (64, 32), (0, 32)]),
    # A frame, cut open as tools without holes have it
    (
        'car',
        [(4, 4), (28, 4), (28, 28), (4, 28), (4, 10), (10, 10), (10, 22), (22, 22), (22, 10)]
        + [(4, 10)],
    ),
    ('road', [(20, 24), (40, 24), (40, 30), (20, 30)]),  # above the car
    ('car', [(56, 8), (80, 8), (80, 12), (56, 12)]),  # goes on outside
)
SLANTED = (
    ('road', [(1.5, 30.25), (31, 3.75), (62.25, 29.5)]),
    ('car', [(10.25, 2.5), (50.75, 9), (44, 27.25), (30, 11), (12.5, 25)]),
    ('road', [(28, 12), (60.5, 5.25), (47.75, 20)]),
    ('car', [(5, 5), (25, 25), (25, 5), (5, 25)]),  # crosses itself
)
CLASSES = ['other', 'road', 'car']


@pytest.fixture
def blocks():
    labels = np.zeros(SIZE[::-1], np.uint8)
    labels[16:] = 1
    frame = np.zeros_like(labels, bool)
    frame[4:28, 4:28] = True
    frame[10:22, 4:22] = False
    frame[10:22, 4:10] = True
    labels[frame] = 2
    labels[24:30, 20:40] = 1
    labels[8:12, 56:] = 2
    return labels


def in_labelme(root, shapes):
    write.labelme(root / 'images', 'a.png', SIZE, write.labelme_shapes(shapes))
    return root / 'images'


def in_coco(root, shapes):
    outlines = {'a.png': write.coco_outlines(shapes)}
    return write.coco(root / 'annotations' / 'instances.json', {'a.png': SIZE}, outlines)


def in_coco_runs(root, shapes, compressed=False):
    entries = []
    for name, points in shapes:
        flat = np.ravel(points).astype(float).tolist()
        runs = coco_mask.merge(coco_mask.frPyObjects([flat], SIZE[1], SIZE[0]))
        counts = runs['counts'].decode()
        if not compressed:
            flat = coco_mask.decode(runs).ravel('F')
            edges = np.flatnonzero(np.diff(np.r_[0, flat]))
            counts = np.diff(np.r_[0, edges, flat.size]).tolist()
        entries.append((name, dict(size=[SIZE[1], SIZE[0]], counts=counts)))
    return write.coco(root / 'runs.json', {'a.png': SIZE}, {'a.png': entries})


def in_coco_compressed_runs(root, shapes):
    return in_coco_runs(root, shapes, compressed=True)


def in_yolo(root, shapes):
    write.yolo(root, 'a.png', SIZE, shapes, ['road', 'car'])
    return root


def in_cvat(root, shapes):
    polygons = {'a.png': write.cvat_polygons(shapes)}
    return write.cvat(root / 'annotations.xml', {'a.png': SIZE}, polygons)


POLYGONS = {
    'labelme': in_labelme,
    'coco': in_coco,
    'coco, runs': in_coco_runs,
    'coco, compressed runs': in_coco_compressed_runs,
    'yolo': in_yolo,
    'cvat': in_cvat,
}


def converted(form, source, out, name='a', **options):
    """The label map that a conversion of one image gives."""
    done = convert_labels(form.split(',')[0], source, out, **options)
    assert done.left_out == []
    return write.labels_in(out / f'{name}.png')


def painted(root, form, shapes, **options):
    write.write_image(root / 'images' / 'a.png', SIZE)
    source = POLYGONS[form](root, shapes)
    options.setdefault('classes', CLASSES)
    return converted(form, source, root / 'masks', **options)


@pytest.mark.parametrize('form', POLYGONS)
def test_later_shapes_lie_above(form, blocks, tmp_path):
    assert (painted(tmp_path, form, BLOCKS) == blocks).all()


def test_slanted_outlines_are_the_same_in_all_formats_and_by_pycocotools(tmp_path):
    expected = np.zeros(SIZE[::-1], np.uint8)
    for name, points in SLANTED:
        runs = coco_mask.frPyObjects([np.ravel(points).tolist()], SIZE[1], SIZE[0])
        expected[coco_mask.decode(coco_mask.merge(runs)) == 1] = CLASSES.index(name)
    assert set(np.unique(expected)) == {0, 1, 2}
    for number, form in enumerate(POLYGONS):
        assert (painted(tmp_path / str(number), form, SLANTED) == expected).all(), form


def test_neighbours_that_share_an_edge_share_no_pixel(tmp_path):
    edge = [(20.3, 0), (33.7, 32)]
    shapes = [('road', [(0, 0), edge[0], edge[1], (0, 32)])]
    alone = painted(tmp_path / 'a', 'labelme', shapes) == 1
    shapes += [('car', [edge[0], (64, 0), (64, 32), edge[1]])]
    both = painted(tmp_path / 'b', 'labelme', shapes)
    assert ((both == 1) == alone).all()
    assert (both > 0).all()


# Single formats


def rows(mask):
    """Lengths of runs along rows, as CVAT has them."""
    flat = np.asarray(mask).ravel()
    edges = np.flatnonzero(np.diff(np.r_[0, flat]))
    return np.diff(np.r_[0, edges, flat.size]).tolist()


def test_boxes_circles_and_masks(tmp_path):
    """LabelMe's and CVAT's are the same, and those of whole coordinates as slices say."""
    write.write_image(tmp_path / 'images' / 'a.png', SIZE)
    inner = np.zeros((6, 5), np.uint8)
    inner[1:4, 2:] = 1
    shape = write.labelme_shape
    shapes = [
        shape('road', [(30, 20), (10, 12)], 'rectangle'),  # from any corner
        shape('car', [(48, 16), (48, 6)], 'circle'),
        shape('road', [(3, 2), (7, 7)], 'mask', mask=write.base64_png(inner * 255)),
        shape('car', [(1, 1)], 'point'),
        shape('car', [(1, 1), (9, 9)], 'line'),
    ]
    write.labelme(tmp_path / 'images', 'a.png', SIZE, shapes)
    ours = converted('labelme', tmp_path / 'images', tmp_path / 'one', classes=CLASSES)
    elements = [
        '<box label="road" xtl="10.0" ytl="12.0" xbr="30.0" ybr="20.0" z_order="0"></box>',
        '<ellipse label="car" cx="48.0" cy="16.0" rx="10.0" ry="10.0" z_order="0"></ellipse>',
        f'<mask label="road" rle="{", ".join(map(str, rows(inner)))}" left="3" top="2" width="5" '
        'height="6" z_order="0"></mask>',
        '<points label="car" points="1.0,1.0" z_order="0"></points>',
        '<tag label="car"></tag>',
    ]
    source = write.cvat(tmp_path / 'annotations.xml', {'a.png': SIZE}, {'a.png': elements})
    assert (converted('cvat', source, tmp_path / 'two', classes=CLASSES) == ours).all()
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[12:20, 10:30] = 1
    expected[2:8, 3:8][inner == 1] = 1
    y, x = np.mgrid[:32, :64] + 0.5
    distance = np.hypot(x - 48, y - 16)
    assert ((ours == 2) >= (distance < 9.3)).all() and ((ours == 2) <= (distance < 10.7)).all()
    assert (ours[:, :38] == expected[:, :38]).all()


def test_cvat_turns_boxes_clockwise_and_obeys_z_order(tmp_path):
    write.write_image(tmp_path / 'images' / 'a.png', SIZE)
    elements = [
        '<box label="car" xtl="20" ytl="12" xbr="40" ybr="20" rotation="90" z_order="1"></box>',
        '<box label="road" xtl="24" ytl="8" xbr="34" ybr="12" z_order="0"></box>',
        '<polygon label="road" points="0,0;4,0;4,8" z_order="2"></polygon>',
        '<box label="car" xtl="48" ytl="7" xbr="60" ybr="10" rotation="45" z_order="0"></box>',
    ]
    source = write.cvat(tmp_path / 'annotations.xml', {'a.png': SIZE}, {'a.png': elements})
    labels = converted('cvat', source, tmp_path / 'masks', classes=CLASSES)
    assert (labels[6:26, 26:34] == 2).all() and (labels[:, 24:34] == 2).sum() == 20 * 8
    assert (labels[8:12, 24:26] == 1).all()
    assert labels[5, 51] == 2 and labels[11, 51] == 0  # from the top left to the bottom right
    assert labels[11, 56] == 2 and labels[5, 56] == 0


def test_cocos_crowds_and_several_outlines_are_painted(tmp_path):
    write.write_image(tmp_path / 'images' / 'a.png', SIZE)
    two = [[0, 0, 4, 0, 4, 4, 0, 4], [8.0, 8, 12, 8, 12, 12, 8, 12], [1, 2, 3, 4]]
    crowd = dict(size=[32, 64], counts=[32 * 60, 32 * 4])
    entries = {'a.png': [('car', two), ('road', crowd)]}
    source = write.coco(tmp_path / 'a.json', {'a.png': SIZE}, entries)
    labels = converted('coco', source, tmp_path / 'masks', classes=CLASSES)
    assert (labels == 2).sum() == 32 and (labels[8:12, 8:12] == 2).all()
    assert (labels[:, 60:] == 1).all() and (labels == 1).sum() == 4 * 32


def test_cocos_images_lie_beside_its_annotations(tmp_path):
    write.write_image(tmp_path / 'train2017' / 'a.png', SIZE)
    source = in_coco(tmp_path, BLOCKS)
    done = convert_labels('coco', source, tmp_path / 'masks')
    assert list(done.written.values()) == ['train2017/a.png']


def test_cocos_panoptic_segments(blocks, tmp_path):
    write.write_image(tmp_path / 'images' / 'a.png', SIZE)
    ids = np.array([0, 7, 300])[blocks]
    ids[:, 32:][blocks[:, 32:] == 2] = 70000  # another car
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    (tmp_path / 'panoptic').mkdir()
    (tmp_path / 'panoptic' / 'a.png').write_bytes(write.png(colours))
    segments = [dict(id=number, category_id=category) for number, category in
                ((7, 1), (300, 2), (70000, 2))]  # fmt: skip
    content = dict(
        categories=[dict(id=1, name='road'), dict(id=2, name='car')],
        images=[dict(id=5, file_name='a.png', width=64, height=32)],
        annotations=[dict(image_id=5, file_name='a.png', segments_info=segments)],
    )
    (tmp_path / 'panoptic.json').write_text(json.dumps(content))
    labels = converted('coco', tmp_path / 'panoptic.json', tmp_path / 'masks')
    assert (labels == blocks).all()


@pytest.mark.parametrize(
    ('labels', 'images', 'name'),
    [
        ('labels/train', 'images/train', 'train/a'),
        ('train/labels', 'train/images', 'train/images/a'),
        ('', '', 'a'),
    ],
)
def test_where_yolos_files_lie(labels, images, name, tmp_path):
    write.write_image(tmp_path / images / 'a.jpg', SIZE)
    (tmp_path / labels).mkdir(parents=True, exist_ok=True)
    (tmp_path / labels / 'a.txt').write_text('1 0 0 0.5 0 0.5 0.5 0 0.5\n\n')
    (tmp_path / 'classes.txt').write_text('road\nMein Auto\n')
    if labels:
        (tmp_path / 'README.txt').write_text('no labels')
    source = tmp_path
    done = converted('yolo', source, tmp_path / 'masks', name)
    assert (done[:16, :32] == 2).all() and (done > 0).sum() == 16 * 32


def test_yolos_boxes_are_painted_when_asked_for(tmp_path):
    write.write_image(tmp_path / 'images' / 'a.png', SIZE)
    write.yolo(tmp_path, 'a.png', SIZE, (), ['road', 'car'])
    (tmp_path / 'labels' / 'a.txt').write_text('1 0.5 0.5 0.25 0.5')
    with pytest.raises(UserError, match='a.txt has boxes.*--boxes'):
        convert_labels('yolo', tmp_path, tmp_path / 'masks')
    labels = converted('yolo', tmp_path, tmp_path / 'masks', boxes=True)
    assert (labels[8:24, 24:40] == 2).all() and (labels > 0).sum() == 16 * 16


# Cityscapes and colours


def cityscapes(root, kind, labels):
    name = 'ulm_000001_000019'
    write.write_image(root / 'leftImg8bit' / 'train' / 'ulm' / f'{name}_leftImg8bit.png', SIZE)
    folder = root / 'gtFine' / 'train' / 'ulm'
    shapes = [*BLOCKS, ('license plate', [(0, 0), (3, 0), (3, 3), (0, 3)])]
    shapes = [('cargroup' if label == 'car' else label, points) for label, points in shapes]
    write.cityscapes(folder / f'{name}_gtFine_polygons.json', SIZE, shapes)
    if kind == 'ids':
        ids = np.array([0, 7, 26, 4], np.uint8)[labels]
        (folder / f'{name}_gtFine_labelIds.png').write_bytes(write.png(ids))
        (folder / f'{name}_gtFine_polygons.json').write_text('not looked at')
    return root


@pytest.mark.parametrize('kind', ['ids', 'outlines'])
def test_cityscapes_gets_training_ids(kind, blocks, tmp_path):
    source = cityscapes(tmp_path, kind, blocks)
    name = 'train/ulm/ulm_000001_000019_leftImg8bit'
    labels = converted('cityscapes', source, tmp_path / 'masks', name)
    assert (labels == np.array([255, 0, 13], np.uint8)[blocks]).all()
    options = dict(classes=CLASSES, overwrite=True)
    labels = converted('cityscapes', source / 'gtFine', tmp_path / 'masks', name, **options)
    assert (labels == blocks).all()


TABLES = {
    'labelmap.txt': '# label:color_rgb:parts\nother:0,0,0::\nroad:128,64,128::\ncar:1,2,3::',
    'dict.csv': 'name,r,g,b\nother,0,0,0\nroad,128,64,128\ncar,1,2,3\n',
    'table.json': '{"other": [0, 0, 0], "road": "#804080", "car": [1, 2, 3]}',
    'list.json': '[{"name": "other", "color": [0, 0, 0]}, {"name": "road", "color": [128, 64, 128]}'
    ', {"name": "car", "color": "#010203"}]',
}
COLOURS = np.array([(0, 0, 0), (128, 64, 128), (1, 2, 3)], np.uint8)


def colour_masks(root, labels):
    write.write_image(root / 'photos' / 'x' / 'a.jpg', SIZE)
    (root / 'SegmentationClass' / 'x').mkdir(parents=True)
    (root / 'SegmentationClass' / 'x' / 'a_L.png').write_bytes(write.png(COLOURS[labels]))
    return root / 'SegmentationClass'


@pytest.mark.parametrize('table', TABLES)
def test_colours_become_ids(table, blocks, tmp_path):
    source = colour_masks(tmp_path, blocks)
    (tmp_path / table).write_text(TABLES[table])
    found = None if table == 'labelmap.txt' else tmp_path / table  # which is found beside
    options = dict(images=tmp_path / 'photos', table=found)
    assert (converted('colours', source, tmp_path / 'masks', 'x/a', **options) == blocks).all()
    with Image.open(tmp_path / 'masks' / 'x' / 'a.png') as image:
        assert image.getpalette()[:9] == COLOURS.ravel().tolist()


def test_label_maps_among_colour_masks_would_be_masks(blocks, tmp_path):
    source = colour_masks(tmp_path, blocks)
    (tmp_path / 'labelmap.txt').write_text(TABLES['labelmap.txt'])
    with pytest.raises(UserError, match='holds what is converted'):
        convert_labels('colours', source, source / 'ids', images=tmp_path / 'photos')


def test_colours_without_a_meaning_are_named(blocks, tmp_path):
    source = colour_masks(tmp_path, blocks)
    (tmp_path / 'labelmap.txt').write_text('other:0,0,0\nroad:128,64,128\n')
    done = convert_labels('colours', source, tmp_path / 'masks', images=tmp_path / 'photos')
    share = (blocks == 2).mean()
    assert f'1 colours that the table has not, such as 1,2,3, on {share:.2%}' in done.left_out[0]
    assert 'a_L.png' in done.left_out[0] and not done.written
