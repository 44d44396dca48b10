"""What is wrong with a data set is said once, clearly, before training starts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image
from torch import nn

from mmseg_faseg.datasets import CamVidDataset, ToyScenesDataset
from mmseg_faseg.engine.data_check import DataCheckHook, DataMismatchError, check_data_roots

CLASSES = ('dark', 'grey', 'bright')


@pytest.fixture
def root(tmp_path) -> Path:
    """Six sound images of 10 x 8 with labels 0, 1, 2 and 255."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for index in range(6):
        write_labels(tmp_path, index, [0, 1, 2, 255])
        Image.new('RGB', (10, 8), 'gray').save(tmp_path / f'images/{index}.png')
    return tmp_path


def write_labels(root: Path, index: int, ids: list[int], shape=(8, 10), dtype=np.uint8) -> None:
    labels = np.resize(np.array(ids, dtype=dtype), shape)
    Image.fromarray(labels).save(root / f'labels/{index}.png')


def dataset_of(root: Path, classes=CLASSES, load=True, **kwargs) -> BaseSegDataset:
    return BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes=classes, palette=[[0, 0, 0]] * len(classes)),
        pipeline=[LoadImageFromFile(), *([LoadAnnotations()] if load else [])],
        **kwargs,
    )


def check(*datasets, num_classes: int = 3, ignore_index: int = 255, **hook_args) -> None:
    """Runs the hook as a run of training (and validation) would."""
    model = nn.Module()
    model.decode_head = nn.Module()
    model.decode_head.num_classes = num_classes
    model.decode_head.ignore_index = ignore_index
    loops = [SimpleNamespace(dataloader=SimpleNamespace(dataset=data)) for data in datasets]
    train, val, test = [*loops, None, None][:3]
    DataCheckHook(**hook_args).before_run(
        SimpleNamespace(model=model, cfg={}, _train_loop=train, _val_loop=val, _test_loop=test)
    )


def test_sound_data_pass(root):
    check(dataset_of(root), dataset_of(root))


def test_label_ids_outside_the_classes(root):
    write_labels(root, 4, [0, 3, 7, 255])
    with pytest.raises(DataMismatchError, match=r'labels/4.png: label ids \[3, 7\]') as error:
        check(dataset_of(root))
    assert '3 classes (ids 0 to 2) and ignores 255' in str(error.value)


def test_label_ids_that_8_bits_do_not_hold(root):
    write_labels(root, 2, [0, 257], dtype=np.uint16)  # 257 would be loaded as class 1
    with pytest.raises(DataMismatchError, match=r'labels/2.png: label ids \[257\] do not fit'):
        check(dataset_of(root))


def test_validation_data_are_checked_too(root, tmp_path_factory):
    sound = tmp_path_factory.mktemp('sound')
    for file in root.glob('*/*'):
        (sound / file.parent.name).mkdir(exist_ok=True)
        (sound / file.parent.name / file.name).write_bytes(file.read_bytes())
    write_labels(root, 4, [9])
    with pytest.raises(DataMismatchError, match=str(root / 'labels/4.png')):
        check(dataset_of(sound), dataset_of(root))


def test_missing_annotation(root):
    (root / 'labels/1.png').unlink()
    with pytest.raises(DataMismatchError, match=r'labels/1.png: no such file .*images/1.png'):
        check(dataset_of(root))


def test_sizes_differ(root):
    write_labels(root, 3, [0], shape=(8, 12))
    with pytest.raises(DataMismatchError, match=r'images/3.png is 10 x 8 .*labels/3.png is 12 x 8'):
        check(dataset_of(root))


def test_image_on_its_side_is_loaded_upright(root):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.new('RGB', (8, 10)).save(root / 'images/3.png', exif=orientation)
    assert LoadImageFromFile()(dict(img_path=str(root / 'images/3.png')))['img'].shape[:2] == (
        8,
        10,
    )
    check(dataset_of(root))


def test_coloured_annotation(root):
    Image.new('RGB', (10, 8)).save(root / 'labels/0.png')
    with pytest.raises(DataMismatchError, match=r'labels/0.png: has shape \(8, 10, 3\)'):
        check(dataset_of(root))


@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_unreadable_file(root, kind):
    (root / kind / '5.png').write_bytes(b'not a picture')
    with pytest.raises(DataMismatchError, match=f'{kind}/5.png: cannot be read'):
        check(dataset_of(root))


def test_number_of_classes_differs(root):
    with pytest.raises(DataMismatchError, match=r'has 3 classes.*num_classes is 19') as error:
        check(dataset_of(root), num_classes=19)
    assert 'Set model.decode_head.num_classes=3' in str(error.value)


def test_ignored_label_is_a_class(root):
    with pytest.raises(DataMismatchError, match='ignore_index is 2'):
        check(dataset_of(root), ignore_index=2)


def test_reduce_zero_label_is_honoured(root):
    for index in range(6):
        write_labels(root, index, [0, 1, 2, 3])
    check(dataset_of(root, reduce_zero_label=True))
    with pytest.raises(DataMismatchError, match=r'label ids \[3\]'):
        check(dataset_of(root))


def test_chosen_classes_are_honoured(tmp_path):
    options = dict(data_root=str(tmp_path), num_images=1)
    pipeline = [LoadImageFromFile(), LoadAnnotations()]
    chosen = ToyScenesDataset(metainfo=dict(classes=('sky', 'tree')), pipeline=pipeline, **options)
    check(chosen, num_classes=2)


@pytest.mark.parametrize(
    'wrap', [lambda data: RepeatDataset(data, 2), lambda data: ConcatDataset([data])]
)
def test_wrapped_data_are_found(root, wrap):
    write_labels(root, 4, [9])
    with pytest.raises(DataMismatchError, match='labels/4.png'):
        check(wrap(dataset_of(root)))


def test_data_without_annotations_pass(root):
    (root / 'labels/4.png').unlink()
    check(dataset_of(root, load=False))


def test_limit(root):
    write_labels(root, 1, [9])
    check(dataset_of(root), max_files=2)  # the first and the last
    write_labels(root, 5, [9])
    with pytest.raises(DataMismatchError, match='1 files .*checked 2 of 6'):
        check(dataset_of(root), max_files=2)


@pytest.mark.parametrize('argument', ['max_files', 'num_workers'])
def test_bad_arguments_are_named(argument):
    with pytest.raises(ValueError, match=f'{argument} must be .*got -1'):
        DataCheckHook(**{argument: -1})


def test_many_problems_are_counted(root):
    for index in range(6, 20):
        write_labels(root, index, [5])
        Image.new('RGB', (10, 8)).save(root / f'images/{index}.png')
    with pytest.raises(DataMismatchError, match=r'14 files [\s\S]*and 4 more'):
        check(dataset_of(root))


def test_processes_share_the_work(root, monkeypatch):
    for index in range(6):
        write_labels(root, index, [9])
    monkeypatch.setattr(dist, 'get_rank', lambda: 1)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(dist, 'all_gather_object', lambda found: [found])
    with pytest.raises(DataMismatchError) as error:
        check(dataset_of(root))
    named = [index for index in range(6) if f'labels/{index}.png' in str(error.value)]
    assert named == [1, 3, 5]


@pytest.mark.parametrize('state', ['missing', 'empty'])
def test_data_root_without_images(tmp_path, state):
    prefix = dict(img_path='images/train', seg_map_path='annotations/train')
    if state == 'empty':
        (tmp_path / prefix['img_path']).mkdir(parents=True)
    cfg = dict(type=CamVidDataset, data_root=str(tmp_path), data_prefix=prefix)
    with pytest.raises(FileNotFoundError, match=f'{state} folder .*images/train') as error:
        check_data_roots(dict(type='RepeatDataset', times=2, dataset=cfg))
    assert '*.jpg' in str(error.value)
    assert 'data_root' in str(error.value)


def test_run_stops_before_training(write_config, root, tmp_path):
    write_labels(root, 4, [3])
    imports = ('mmseg_faseg', 'mmseg_faseg.engine.data_check')
    cfg = Config.fromfile(
        write_config(
            tmp_path / 'tiny.py', "custom_hooks = [dict(type='DataCheckHook')]", imports=imports
        )
    )
    cfg.work_dir = str(tmp_path / 'work')
    cfg.train_dataloader.dataset.data_root = str(root)
    cfg.model.backbone.norm_cfg.type = 'BN'
    runner = Runner.from_cfg(cfg)
    with pytest.raises(DataMismatchError, match='labels/4.png'):
        runner.train()
    assert runner.iter == 0
    assert not list(Path(cfg.work_dir).rglob('*.pth'))
