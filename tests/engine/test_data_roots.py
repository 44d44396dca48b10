"""What no data set of MMDetection can be made of is said in one line before anything is built."""

import json
import shutil

import pytest
from mmengine.config import Config

from mmseg_faseg.apis.checks import check_data
from mmseg_faseg.engine.data_check import DataMismatchError
from mmseg_faseg.engine.data_roots import check_data_roots
from mmseg_faseg.errors import UserError
from tests.helpers.coco import Coco


@pytest.fixture
def instances(tmp_path) -> Coco:
    return Coco(tmp_path)


@pytest.fixture
def panoptic(tmp_path) -> Coco:
    return Coco(tmp_path, panoptic=True)


@pytest.fixture(params=['instances', 'panoptic'])
def coco(request) -> Coco:
    return request.getfixturevalue(request.param)


def roots(data: Coco, **changes) -> None:
    check_data_roots(dict(type='RepeatDataset', times=2, dataset=data.settings(**changes)))


def test_sound_roots_pass(coco):
    roots(coco)


@pytest.mark.parametrize('missing', ['annotations.json', 'images', 'panoptic'])
def test_missing_folders_and_files(panoptic, missing):
    settings = panoptic.settings()
    path = panoptic.root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=f'CocoPanopticDataset: there is no .*{path}') as e:
        check_data_roots(settings)
    assert f'pass another data_root (now {str(panoptic.root)!r})' in str(e.value)


@pytest.mark.parametrize('key', ['bbox', 'area', 'category_id'])
def test_entries_without_a_key(coco, key):
    del coco.first[key]
    of = 'of image 0, segment 1' if coco.panoptic else 'annotation 1'
    with pytest.raises(DataMismatchError, match=f"annotations.json: {of} has no '{key}'"):
        roots(coco)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.first.update(bbox=[1, 2, 3]), r'has bbox=\[1, 2, 3\], which needs 4'),
        (lambda c: c.first.update(area='big'), "has area='big', which should be a number"),
        (lambda c: c.content['annotations'][1].update(id=1), '2 annotations have the id 1'),
        (lambda c: c.content['images'][1].pop('height'), "image 1 has no 'height'"),
        (lambda c: c.content.update(categories=None), 'has no list of categories'),
    ],
)
def test_entries_of_another_form(instances, change, message):
    change(instances)
    with pytest.raises(DataMismatchError, match=f'annotations.json: .*{message}'):
        roots(instances)


def test_a_file_that_is_no_json(instances):
    settings = instances.settings()
    (instances.root / 'annotations.json').write_text('{"images": [')
    with pytest.raises(DataMismatchError, match=r'annotations.json: is no JSON file'):
        check_data_roots(settings)


def test_instances_given_for_panoptic_data(panoptic, tmp_path_factory):
    other = Coco(tmp_path_factory.mktemp('instances'))
    panoptic.content = json.loads(json.dumps(other.content))
    with pytest.raises(DataMismatchError, match="annotation 1 has no 'segments_info'"):
        roots(panoptic)


def test_panoptic_segments_of_a_category_that_is_no_class(panoptic):
    with pytest.raises(DataMismatchError, match=r"segment 2 .*category 7 \('dog'\), .* none of"):
        roots(panoptic, metainfo=dict(classes=('cat', 'grass')))


@pytest.mark.parametrize('several', [False, True])
@pytest.mark.parametrize('key', ['ann_file', 'seg_prefix'])
def test_files_that_metrics_read(panoptic, key, several):
    file = str(panoptic.root / 'annotations.json')
    metric = dict(type='CocoPanopticMetric', ann_file=file, seg_prefix=str(panoptic.pngs))
    cfg = Config(dict(val_dataloader=dict(dataset=panoptic.settings())))
    cfg.val_evaluator = [metric] if several else metric
    check_data(cfg, ['val_dataloader'])
    cfg.val_evaluator = [metric | {key: '/nosuch'}] if several else metric | {key: '/nosuch'}
    with pytest.raises(UserError, match=f"val_evaluator: CocoPanopticMetric has {key}='/nosuch'"):
        check_data(cfg, ['val_dataloader'])


def test_no_image_is_left(instances):
    with pytest.raises(DataMismatchError, match="'min_size': 100} leaves out all 3"):
        roots(instances, filter_cfg=dict(min_size=100))
    instances.content.update(images=[], annotations=[])
    with pytest.raises(DataMismatchError, match='CocoDataset has no images: .*lists none'):
        roots(instances)


def test_a_data_set_that_makes_its_files_does_so_first(tmp_path):
    settings = dict(type='mmdet.ToyPanopticDataset', num_images=2, size=64, data_root=str(tmp_path))
    check_data_roots(settings)
    made = {file.name for file in tmp_path.glob('edition*/*.json')}
    assert made == {'panoptic_train_2.json', 'instances_train_2.json'}
