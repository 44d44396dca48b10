"""What is wrong with instances and panoptic segments is said once, clearly, before training."""

import re
from types import SimpleNamespace

import pytest
from mmcv.transforms import BaseTransform
from PIL import Image
from torch import nn

from mmseg_faseg.engine.checks import report
from mmseg_faseg.engine.checks.kinds import kind_of
from mmseg_faseg.engine.checks.segment_reading import SegmentReader
from mmseg_faseg.engine.data_check import DataCheckHook, DataMismatchError
from tests.helpers.coco import BOXES, Coco, rle
from tests.helpers.small_detector import STUFF, THINGS, build_detector, our_head, stock_head
from tests.helpers.small_head import QUERIES


@pytest.fixture
def instances(tmp_path) -> Coco:
    return Coco(tmp_path)


@pytest.fixture
def panoptic(tmp_path) -> Coco:
    return Coco(tmp_path, panoptic=True)


@pytest.fixture(params=['instances', 'panoptic'])
def coco(request) -> Coco:
    return request.getfixturevalue(request.param)


@pytest.fixture
def warnings(monkeypatch):
    """The warnings so far."""
    lines = []
    monkeypatch.setattr(report, 'print_log', lambda text, *_: lines.append(text))
    return lambda: lines


def check(*datasets, things=2, stuff=None, num_queries=5, head='panoptic_head', **cfg) -> None:
    """Runs the hook as a run of training (and validation) would."""
    model = nn.Module()
    if stuff is None:
        stuff = int('Panoptic' in type(datasets[0]).__name__)
    part = nn.Module()
    part.num_things_classes, part.num_stuff_classes = things, stuff
    setattr(model, head, part)
    (model if head == 'bbox_head' else part).num_queries = num_queries
    model.backbone = nn.Conv2d(3, 4, 3)
    loops = [SimpleNamespace(dataloader=SimpleNamespace(dataset=data)) for data in datasets]
    train, val = [*loops, None][:2]
    runner = SimpleNamespace(
        model=model, cfg=cfg, _train_loop=train, _val_loop=val, _test_loop=None
    )
    DataCheckHook(num_workers=0).before_run(runner)


def refused(data: Coco, message: str, **kwargs) -> str:
    with pytest.raises(DataMismatchError, match=message) as error:
        check(data.dataset(), **kwargs)
    return str(error.value)


def warned(data: Coco, warnings, name: str, **kwargs) -> str:
    """The one line that a check logs; no other does."""
    check(data.dataset(), **kwargs)
    (line,) = warnings()
    assert line.endswith(f'[{name}]')
    return line


@pytest.mark.parametrize('test_mode', [False, True])
def test_sound_data_pass_with_gaps_in_the_category_ids(coco, test_mode, warnings):
    check(coco.dataset(test_mode=test_mode))
    assert warnings() == []


@pytest.mark.parametrize('kind', ['FASegDetector', 'Mask2Former'])
def test_what_detectors_take(kind):
    head = our_head() if kind == 'FASegDetector' else stock_head()
    _, expected = kind_of(build_detector(head, kind=kind))
    assert (expected.num_things, expected.num_stuff) == (THINGS, STUFF)
    assert (expected.num_queries, expected.with_queries) == (QUERIES, THINGS + STUFF)
    assert (expected.head, expected.channels) == ('model.panoptic_head', 3)


# Classes


@pytest.mark.parametrize(('things', 'stuff'), [(3, 0), (2, 2), (1, 1)])
def test_numbers_of_things_and_stuff(coco, things, stuff):
    found = 1 if coco.panoptic else 0
    message = refused(
        coco, f'of its classes, 2 are things and {found} stuff', things=things, stuff=stuff
    )
    assert f'model.panoptic_head has num_things_classes={things}' in message
    assert f'model.panoptic_head.num_stuff_classes={found}' in message
    assert 'skip_checks=things_and_stuff' in message


def test_stuff_before_things(panoptic):
    panoptic.content['categories'].insert(1, panoptic.content['categories'].pop())
    wanted = "'grass', which is stuff, before 'dog'"
    for order in (('cat', 'grass', 'dog'), ('cat', 'dog', 'grass')):
        with pytest.raises(DataMismatchError, match=wanted) as error:
            check(panoptic.dataset(metainfo=dict(classes=order)))
        assert len(str(error.value).splitlines()) == 2  # it and what to do


def test_a_class_that_is_no_category(instances):
    with pytest.raises(DataMismatchError, match=r"class \('horse'\) is no category") as error:
        check(instances.dataset(metainfo=dict(classes=('cat', 'horse', 'dog'))), things=3)
    assert f"{instances.root}/annotations.json, which has ('cat', 'dog')" in str(error.value)
    assert 'things_and_stuff' not in str(error.value)


def test_classes_in_another_order_than_the_file(instances):
    """MMDetection would call cats dogs."""
    data = instances.dataset(metainfo=dict(classes=('dog', 'cat')))
    assert data.get_data_info(0)['instances'][0]['bbox_label'] == 0  # the cat
    with pytest.raises(DataMismatchError, match=r"\('cat', 'dog'\), but metainfo.classes is"):
        check(data)


def test_categories_that_are_no_classes(instances, warnings):
    check(instances.dataset(metainfo=dict(classes=('cat',))), things=1)
    assert "left out: 3 of 'dog' [other_categories]" in warnings()[0]


def test_classes_that_are_a_string(instances):
    data = instances.dataset()
    data._metainfo['classes'] = 'cat'
    with pytest.raises(DataMismatchError, match=r"'cat' \(is a comma missing\?\).*'person'"):
        check(data)


def test_a_class_that_never_occurs(instances, warnings, tmp_path_factory):
    instances.content['annotations'] = instances.content['annotations'][::2]
    instances.content['annotations'].pop(1)  # of a dog
    left = {one['category_id'] for one in instances.content['annotations']}
    assert left == {3}
    refused(instances, r"class 'dog' \(id 1\) has no object or segment in any of 3 images")
    sound = Coco(tmp_path_factory.mktemp('sound')).dataset()
    check(sound, instances.dataset())  # in validation it is a line
    line = warnings()[-1]
    assert "class 'dog' (id 1) has no object" in line


def test_images_of_training_in_validation(instances, warnings):
    check(instances.dataset(), instances.dataset())
    (line,) = warnings()
    assert line.startswith('3 images are both trained on and validated on')


def test_another_order_of_classes_in_validation(instances, warnings, tmp_path_factory):
    other = Coco(tmp_path_factory.mktemp('other'))
    other.content['categories'].reverse()
    check(instances.dataset(), other.dataset(metainfo=dict(classes=('dog', 'cat'))))
    (line,) = warnings()
    assert line.startswith("class 0 is 'cat' in training (CocoDataset), but 'dog' in validation")


def test_labels_that_are_no_things_of_the_model(instances):
    """Where the annotation file is not COCO's, or its check is left out."""
    skipped = ['things_and_stuff']
    message = refused(instances, '0.png: object 1 .* has label 1', things=1, skip_checks=skipped)
    assert 'the model has 1 classes of things' in message


# Objects and their images


def test_more_objects_than_queries(coco, warnings):
    line = warned(coco, warnings, 'num_queries', num_queries=1)
    most = 3 if coco.panoptic else 2
    assert line.startswith('3 images have more segments than model.panoptic_head.num_queries=1')
    assert f'up to {most} in {coco.images / "0.png"}' in line
    assert f'num_queries should be {most} or more' in line


def test_stuff_of_panoptic_segformer_has_queries_of_its_own(panoptic, warnings):
    check(panoptic.dataset(), num_queries=2, head='bbox_head')
    assert warnings() == []
    line = warned(panoptic, warnings, 'num_queries', num_queries=1, head='bbox_head')
    assert 'than model.num_queries=1, up to 2' in line


def test_objects_that_are_left_out(coco, warnings):
    coco.first['bbox'] = [2, 3, 0.5, 8]
    if coco.panoptic:  # whose pixels are there
        assert 'ids [1] are no segments' in refused(coco, 'panoptic/0.png')
        return
    line = warned(coco, warnings, 'left_out_objects')
    assert line.startswith(f'{coco.root}/annotations.json: MMDetection leaves out 1 of its objects')
    assert 'one of 0.png with box [2, 3, 0.5, 8]: its box is less than a pixel wide' in line


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(area=0), 'its area is 0'),
        (dict(bbox=[40, 3, 10, 8]), 'its box is empty or outside the image'),
        (dict(bbox=[2, 3, 0, 8]), 'its box is empty or outside the image'),
        (dict(ignore=1), "it has 'ignore'"),
        (dict(image_id=99), 'image 99 with box .* the file lists no such image'),
    ],
)
def test_why_objects_are_left_out(instances, warnings, change, reason):
    instances.first.update(change)
    data = instances.dataset()
    assert len(data.get_data_info(0)['instances']) == 1  # MMDetection does
    check(data)
    assert len(warnings()) == 1
    assert re.search(reason, warnings()[0])


@pytest.mark.parametrize('box', [[2, 3, 12, 11], [3, 2, 8, 10], [5, 6, 10, 8], [2, 3, 10, 16]])
def test_boxes_that_miss_their_masks(coco, box):
    if box == [3, 2, 8, 10]:  # off by a pixel or two
        coco.first['bbox'] = box
        check(coco.dataset())
        return
    coco.first['bbox'] = box
    message = refused(coco, r'images/0.png: object 0 \(\'cat\', box x1, y1, x2, y2 = ')
    assert 'its mask lies in [2, 3, 12, 11]' in message
    assert 'skip_checks=mask_boxes' in message


def test_boxes_of_large_objects_may_miss_by_a_tenth(instances):
    large = [0, 0, 32, 24]
    instances.first.update(segmentation=rle(large), bbox=[3, 0, 29, 24])
    check(instances.dataset())
    instances.first.update(bbox=[4, 0, 28, 24])
    refused(instances, 'its mask lies in')


def test_boxes_of_polygons_are_those_of_their_points(instances):
    x, y, width, height = BOXES[0]
    thin = [x, y, x + width, y, x + width, y + 0.1]
    instances.first['segmentation'] = [thin, [x, y, x + 1, y + height, x, y + height]]
    check(instances.dataset())
    instances.first['bbox'] = [x, y, width + 20, height]
    refused(instances, 'its mask lies in')


@pytest.mark.parametrize('form', ['polygon', 'counts'])
def test_other_forms_of_masks(instances, warnings, form):
    x, y, width, height = BOXES[0]
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    before = 24 * x + y  # RLE runs down the columns
    counts = [before, *[height, 24 - height] * (width - 1), height]
    counts.append(24 * 32 - sum(counts))
    instances.first['segmentation'] = (
        [corners] if form == 'polygon' else dict(size=[24, 32], counts=counts)
    )
    check(instances.dataset())
    assert warnings() == []


@pytest.mark.parametrize('polygon', [[2, 3, 12, 11], [2, 3, 12, 3, 12, 11, 2]])
def test_polygons_that_are_none(instances, warnings, polygon):
    instances.first['segmentation'] = [polygon]
    line = warned(instances, warnings, 'polygons')
    assert "images/0.png: object 0 ('cat', box x1, y1, x2, y2 = [2, 3, 12, 11]): a polygon" in line
    assert f'of {len(polygon)} numbers is left out' in line


def test_masks_in_rle_that_are_none(instances, warnings):
    instances.first['segmentation'] = dict(size=[24, 32])
    assert 'its mask has no size or no counts' in warned(instances, warnings, 'polygons')


def test_masks_without_pixels(instances, warnings):
    instances.first['segmentation'] = rle([0, 0, 0, 0])
    assert 'object 0' in warned(instances, warnings, 'empty_masks')


def test_objects_without_masks(instances):
    del instances.first['segmentation']
    refused(instances, r"images/0.png: object 0 .* has no mask \('segmentation' in .*tions.json\)")


def test_crowd_regions_are_not_learnt(coco, warnings):
    coco.first.update(iscrowd=1, bbox=[0, 0, 32, 24])  # nor is their box
    check(coco.dataset(), num_queries=3 if coco.panoptic else 2)
    sample = coco.dataset()[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [1]
    assert warnings() == []
    warned(coco, warnings, 'num_queries', num_queries=1)


def test_objects_to_evaluate_on_that_do_not_say_whether_they_are_a_crowd(coco):
    del coco.first['iscrowd']
    check(coco.dataset())
    with pytest.raises(DataMismatchError, match="tions.json: 1 of its objects have no 'iscrowd'"):
        check(coco.dataset(test_mode=True))


@pytest.mark.parametrize('skipped', ['segment_ids', 'mask_size', 'masks', 'polygons'])
def test_a_check_that_is_left_out_fails_no_other(skipped, tmp_path):
    coco = Coco(tmp_path, panoptic=skipped == 'segment_ids')
    if coco.panoptic:
        coco.write_png(0, {9: [0, 0, 32, 24], 1: BOXES[0]})
        check(coco.dataset(), skip_checks=[skipped])
    elif skipped == 'polygons':
        coco.first['segmentation'] = [[1, 2, 3, 4]]
        check(coco.dataset(), skip_checks=[skipped])
    else:
        wrong = None if skipped == 'masks' else rle(BOXES[0], size=(32, 24))
        coco.first['segmentation'] = wrong
        with pytest.raises(DataMismatchError, match='0.png: LoadAnnotations of the pipeline fails'):
            check(coco.dataset(), skip_checks=[skipped])


# Images


def test_images_of_another_number_of_channels(coco):
    load = dict(type='LoadImageFromFile', color_type='grayscale')
    data = coco.dataset()
    data = coco.dataset(pipeline=[load, *data.pipeline.transforms[1:]])
    with pytest.raises(DataMismatchError, match='0.png: is loaded with 1 channels'):
        check(data)


def test_images_without_objects(instances, warnings):
    instances.content['annotations'] = instances.content['annotations'][2:]
    line = warned(instances, warnings, 'images_without_objects')
    assert line.startswith('1 of 3 images show no object and no stuff, such as ')
    assert f'{instances.images / "0.png"}: everything there counts as background' in line


def test_images_that_filter_cfg_leaves_out(coco, warnings):
    """Of panoptic data those without things."""
    if coco.panoptic:
        coco.content['annotations'][0]['segments_info'] = [dict(coco.first, id=9, category_id=90)]
        coco.first.update(bbox=[0, 0, 32, 24])
        coco.write_png(0, {9: [0, 0, 32, 24]})
    else:
        coco.content['annotations'] = coco.content['annotations'][2:]
    check(coco.dataset(filter_cfg=dict(filter_empty_gt=True)))
    (line,) = warnings()
    assert 'leaves out 1 of 3 images of' in line and 'such as 0.png: those without a' in line
    assert ('without a thing' in line) == coco.panoptic


def test_panoptic_images_of_stuff_alone_and_of_things_alone_pass(panoptic, warnings):
    stuff, things = panoptic.content['annotations'][:2]
    del stuff['segments_info'][:2], things['segments_info'][2]
    panoptic.write_png(0, {9: [0, 0, 32, 24]})
    panoptic.write_png(1, {1: BOXES[0], 2: BOXES[1]})
    check(panoptic.dataset())
    assert warnings() == []


@pytest.mark.parametrize('content', [b'', b'not a picture', None])
def test_images_that_cannot_be_read(coco, content):
    file = coco.images / '1.png'
    file.write_bytes(content or b'')
    if content is None:
        file.unlink()
    message = refused(coco, str(file))
    assert ('no such file (image)' if content is None else 'cannot be read') in message
    assert len(message.splitlines()) == 3


def test_images_that_end_too_early(coco):
    file = coco.images / '1.png'
    file.write_bytes(file.read_bytes()[:60])
    refused(coco, f'{file}: cannot be read')


def test_images_of_another_size_than_the_file_says(coco):
    Image.new('RGB', (24, 32)).save(coco.images / '2.png')
    message = refused(coco, r'2.png is 24 x 32 \(width x height\), but .*tions.json says 32 x 24')
    assert 'skip_checks=image_size' in message


def test_masks_of_another_size_than_the_image(instances):
    instances.first['segmentation'] = rle(BOXES[0], size=(32, 24))
    message = refused(instances, r'0.png: object 0 .*its mask is 24 x 32 .*, the image 32 x 24')
    assert 'skip_checks=mask_size' in message


# Panoptic PNG files


def test_png_of_another_size_than_the_image(panoptic):
    panoptic.write_png(1, {1: BOXES[0]}, size=(30, 40))
    refused(panoptic, r'images/1.png is 32 x 24 .*panoptic/1.png is 40 x 30')


@pytest.mark.parametrize('state', ['missing', 'cut'])
def test_png_that_cannot_be_read(panoptic, state):
    file = panoptic.pngs / '1.png'
    file.write_bytes(file.read_bytes()[:60])
    if state == 'missing':
        file.unlink()
    what = r'no such file \(annotation of .*images/1.png' if state == 'missing' else 'cannot be'
    refused(panoptic, f'{file}: {what}')


def test_png_with_unknown_ids(panoptic):
    panoptic.write_png(1, {9: [0, 0, 32, 24], 1: BOXES[0], 2: BOXES[1], 70000: [30, 0, 2, 2]})
    message = refused(panoptic, r'panoptic/1.png: ids \[70000\] are no segments of the image in')
    assert 'skip_checks=segment_ids' in message and 'grey' not in message


def test_grey_png(panoptic):
    file = panoptic.pngs / '1.png'
    Image.open(file).getchannel(0).save(file)
    refused(panoptic, 'grey picture: ids are R')


def test_segments_without_pixels(panoptic):
    panoptic.write_png(1, {9: [0, 0, 32, 24], 1: BOXES[0]})
    refused(panoptic, r'panoptic/1.png: has no pixel of segments \[2\], which .*tions.json lists')


def test_areas_that_the_metric_would_compute_with(panoptic):
    """PQ of perfect predictions was 116 %."""
    panoptic.content['annotations'][1]['segments_info'][2]['area'] = 500
    check(panoptic.dataset())
    wanted = r'panoptic/1.png: segment 9 has 580 pixels, but .*tions.json says area 500'
    with pytest.raises(DataMismatchError, match=wanted):
        check(panoptic.dataset(test_mode=True))


def test_pixels_of_no_segment_are_void(panoptic, warnings):
    panoptic.write_png(1, {9: [0, 0, 20, 24], 1: BOXES[0], 2: BOXES[1]})
    check(panoptic.dataset())
    assert warnings() == []


# Loaders of one's own, and time


class AddLabel(BaseTransform):
    def transform(self, results: dict) -> dict:
        results['gt_bboxes_labels'] = results['gt_bboxes_labels'] * 0
        return results


def test_labels_are_judged_as_training_sees_them(instances):
    data = instances.dataset()
    data.pipeline.transforms.insert(2, AddLabel())
    with pytest.raises(DataMismatchError, match="class 'dog'"):
        check(data)


def test_a_transform_that_fails_is_named(instances):
    def fail(results: dict) -> dict:
        raise RuntimeError('out of luck')

    data = instances.dataset()
    data.pipeline.transforms.insert(2, fail)
    with pytest.raises(DataMismatchError, match=r'0.png: fail of the pipeline fails .*of luck'):
        check(data)


def test_images_alone_are_read_where_no_objects_are_loaded(instances):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='mmdet.PackDetInputs')]
    del instances.first['segmentation']
    check(instances.dataset(pipeline=pipeline))
    (instances.images / '1.png').unlink()
    with pytest.raises(DataMismatchError, match='no such file'):
        check(instances.dataset(pipeline=pipeline))


def test_sound_images_are_remembered_until_files_change(coco, monkeypatch, warnings):
    looks = []
    look = SegmentReader.look
    monkeypatch.setattr(
        SegmentReader, 'look', lambda self, info: looks.append(info) or look(self, info)
    )
    data = coco.dataset()
    check(data, num_queries=1)
    check(data, num_queries=1)
    assert len(looks) == 3
    assert len(warnings()) == 2  # what was seen is said again
    coco.first['bbox'] = [20, 3, 10, 8]
    refused(coco, 'its mask lies in', num_queries=1)
