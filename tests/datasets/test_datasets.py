"""ToyScenesDataset makes the same scenes always; CamVidDataset reads the documented layout."""

import hashlib
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

import mmseg_faseg.datasets.toy_files as toy_files
from mmseg_faseg.datasets import CamVidDataset, ToyScenesDataset

LOADING = [LoadImageFromFile(), LoadAnnotations()]
POLE = ToyScenesDataset.METAINFO['classes'].index('pole')


def make(root: Path, **kwargs) -> ToyScenesDataset:
    return ToyScenesDataset(data_root=str(root), **{'num_images': 3, 'size': 64, **kwargs})


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob('*') if file.is_file()
    }


@pytest.fixture(scope='module')
def label_maps() -> list[np.ndarray]:
    dataset = ToyScenesDataset(lazy_init=True)
    return [dataset.make_scene(index)[1] for index in range(30)]


def test_scenes_never_change():
    digest = hashlib.sha256()
    for split in ('train', 'val'):
        dataset = ToyScenesDataset(split=split, lazy_init=True)
        for index in range(3):
            for array in dataset.make_scene(index):
                digest.update(array.tobytes())
    assert digest.hexdigest() == '6afc9c61f5a7e6e5a65625c15ecd15e747683e3a4dee447ac987fda09610d7c3'


def test_scene_depends_on_its_index_alone(tmp_path):
    make(tmp_path / 'few', num_images=2)
    make(tmp_path / 'many', num_images=4)
    few, many = contents(tmp_path / 'few'), contents(tmp_path / 'many')
    assert len(few) == 4 and len(many) == 8
    assert few.items() <= many.items()
    lazy = ToyScenesDataset(lazy_init=True)
    backwards = [lazy.make_scene(index)[0] for index in (1, 0)]
    for image, index in zip(backwards, (1, 0), strict=True):
        np.testing.assert_array_equal(image, lazy.make_scene(index)[0])


def test_splits_and_seeds_differ():
    images = [
        ToyScenesDataset(split=split, seed=seed, lazy_init=True).make_scene(0)[0].tobytes()
        for split in ('train', 'val')
        for seed in (0, 1)
    ]
    assert len(set(images)) == 4


def test_loads_through_stock_transforms(tmp_path):
    dataset = make(tmp_path, pipeline=LOADING)
    assert len(dataset) == 3
    for index in range(3):
        image, labels = dataset.make_scene(index)
        loaded = dataset[index]
        np.testing.assert_array_equal(loaded['img'][..., ::-1], image)
        np.testing.assert_array_equal(loaded['gt_seg_map'], labels)


def test_fewer_images_than_there_are_on_disk(tmp_path):
    make(tmp_path, num_images=3)
    assert len(make(tmp_path, num_images=1)) == 1


def test_all_classes_and_an_ignored_border(label_maps):
    labels = np.stack(label_maps)
    assert labels.shape == (30, 128, 128)
    assert set(np.unique(labels)) == {*range(8), 255}
    share = (labels == 255).mean()
    assert 0.02 < share < 0.12


def test_poles_are_thin_and_discs_small(label_maps):
    widths, discs = set(), []
    for labels in label_maps:
        for row in labels == POLE:
            edges = np.flatnonzero(np.diff(np.pad(row.astype(int), 1)))
            widths |= set((edges[1::2] - edges[::2]).tolist())
        for label in (POLE + 1, POLE + 2):
            disc = (labels == label).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(disc, connectivity=4)
            discs += stats[1:, 2:4].max(-1).tolist()
    assert widths == {1, 2, 3}
    assert min(discs) <= 5
    assert max(discs) <= 11


def test_other_size():
    image, labels = ToyScenesDataset(size=96, lazy_init=True).make_scene(0)
    assert image.shape == (96, 96, 3)
    assert labels.shape == (96, 96)


def test_interrupted_generation_is_completed(tmp_path, monkeypatch):
    complete = tmp_path / 'complete'
    make(complete)
    broken = tmp_path / 'broken'
    replace = os.replace
    done = []

    def interrupt(source, target):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(toy_files.os, 'replace', interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(broken)
    partial = {name for name in contents(broken) if name.endswith('.png')}
    assert len(partial) == 3
    dataset = make(broken, pipeline=LOADING)
    assert contents(complete).items() <= contents(broken).items()
    assert all(dataset[index]['gt_seg_map'].shape == (64, 64) for index in range(3))


def test_existing_scenes_are_not_written_again(tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(toy_files, 'write_whole', None)
    assert len(make(tmp_path)) == 3


def test_several_processes_at_once(tmp_path):
    make(tmp_path / 'alone')
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=make, args=[tmp_path / 'together']) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert contents(tmp_path / 'together') == contents(tmp_path / 'alone')


@pytest.mark.parametrize(
    ('argument', 'value'), [('split', 'test'), ('num_images', 0), ('seed', -1), ('size', 32)]
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f'{argument} must be .*{value}'):
        ToyScenesDataset(lazy_init=True, **{argument: value})


def test_camvid_reads_the_documented_layout(tmp_path):
    for split, names in (('train', 'ab'), ('val', 'c')):
        for kind in ('images', 'annotations'):
            (tmp_path / kind / split).mkdir(parents=True)
        for name in names:
            Image.new('RGB', (24, 16), 'gray').save(tmp_path / f'images/{split}/{name}.jpg')
            labels = np.full((16, 24), 255, np.uint8)
            labels[:, :11] = np.arange(11)
            Image.fromarray(labels).save(tmp_path / f'annotations/{split}/{name}.png')
    for split, count in (('train', 2), ('val', 1)):
        dataset = camvid(tmp_path, split)
        assert len(dataset) == count
        assert dataset[0]['img'].shape == (16, 24, 3)
        assert set(np.unique(dataset[0]['gt_seg_map'])) == {*range(11), 255}
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11


def camvid(root: Path, split: str) -> CamVidDataset:
    return CamVidDataset(
        data_root=str(root),
        data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
        pipeline=LOADING,
    )


CAMVID_ROOT = Path(os.environ.get('CAMVID_ROOT') or Path(__file__).parents[2] / 'data/camvid')


@pytest.mark.skipif(
    not CAMVID_ROOT.is_dir(), reason='no CamVid in data/camvid, nor is CAMVID_ROOT set'
)
def test_real_camvid():
    dataset = camvid(CAMVID_ROOT, 'val')
    assert len(dataset) == 101
    seen = np.zeros(256, dtype=bool)
    for index in range(0, 101, 10):
        item = dataset[index]
        assert item['img'].shape[:2] == item['gt_seg_map'].shape == (360, 480)
        seen[np.unique(item['gt_seg_map'])] = True
    assert seen[:11].all()
    assert not seen[11:255].any()
