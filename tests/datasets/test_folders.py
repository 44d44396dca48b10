"""Data sets in folders, whatever the suffixes and values."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from tests.helpers.photos import make_folders

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def dataset(folders, classes=('other', 'car'), **kwargs):
    init_default_scope('mmseg')
    photos, masks = folders
    prefix = dict(img_path=str(photos), seg_map_path=str(masks))
    kwargs = dict(data_prefix=prefix, metainfo=dict(classes=classes), pipeline=PIPELINE) | kwargs
    return DATASETS.build(dict(type='FolderDataset', **kwargs))


def test_pairs_by_name(tmp_path):
    folders = make_folders(tmp_path, suffixes=('.jpg', '.PNG', '.bmp'))
    (folders[1] / 'p3.png').unlink()
    data = dataset(folders)
    assert len(data) == 7
    for item in data:
        assert item['img'].shape[:2] == item['gt_seg_map'].shape
        labels = np.asarray(Image.open(item['seg_map_path']))
        assert (item['gt_seg_map'] == labels).all()


def test_a_file_lists_the_names_of_a_part(tmp_path):
    folders = make_folders(tmp_path)
    names = tmp_path / 'val.txt'
    names.write_text('p5\np2\n')
    data = dataset(folders, ann_file=str(names))
    assert [item['img_path'] for item in data] == [str(folders[0] / f'p{n}.jpg') for n in (5, 2)]


def test_in_test_mode_photos_need_no_label_map(tmp_path):
    folders = make_folders(tmp_path)
    (folders[1] / 'p3.png').unlink()
    assert len(dataset(folders, test_mode=True)) == 8
    photos_alone = dict(img_path=str(folders[0]))
    assert len(dataset(folders, data_prefix=photos_alone, test_mode=True)) == 8


@pytest.mark.parametrize(
    ('in_files', 'label_values', 'expected'),
    [
        ((0, 255), [0, 255], (0, 1)),
        ((255, 0), [255, 0], (0, 1)),  # white is the background
        ((0, 100, 255), [100, 0], (1, 0, 255)),  # 255 is ignored where it is no class
        ((0, 1, 255), [0, 255], (0, 254, 1)),  # 1 is none, which the data check refuses
    ],
)
def test_values_of_classes(in_files, label_values, expected, tmp_path):
    folders = make_folders(tmp_path, values=in_files)
    item = dataset(folders, label_values=label_values)[0]
    labels = np.asarray(Image.open(item['seg_map_path']))
    for value, label in zip(in_files, expected, strict=True):
        assert (item['gt_seg_map'][labels == value] == label).all()


@pytest.mark.parametrize('label_values', [[0], [0, 0], [0, 256], [0, 1, 2]])
def test_values_that_do_not_fit_the_classes(label_values, tmp_path):
    with pytest.raises(ValueError, match='one value from 0 to 255 for each of 2 classes'):
        dataset(make_folders(tmp_path), label_values=label_values)


def test_names_of_label_maps_may_have_an_ending(tmp_path):
    folders = make_folders(tmp_path, ending='_mask')
    data = dataset(folders, seg_map_suffix='_mask')
    assert [item['seg_map_path'] for item in data] == [
        str(folders[1] / f'p{number}_mask.png') for number in range(8)
    ]
