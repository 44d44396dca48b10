"""What is wrong with a data set is said once, clearly, before training starts."""

import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import (
    BaseTransform,
    Compose,
    LoadImageFromFile,
    RandomApply,
    RandomFlip,
    Resize,
    TestTimeAug,
)
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset, MultiImageMixDataset
from mmseg.datasets.transforms import (
    ConcatCDInput,
    LoadAnnotations,
    RandomCrop,
    RandomMosaic,
    RGB2Gray,
)
from PIL import Image, ImageFile
from torch import nn

from mmseg_faseg.datasets import CamVidDataset, ToyScenesDataset
from mmseg_faseg.engine.checks import report
from mmseg_faseg.engine.checks.names import CHECKS
from mmseg_faseg.engine.checks.reading import PairReader
from mmseg_faseg.engine.data_check import DataCheckHook, DataMismatchError
from mmseg_faseg.engine.data_roots import check_data_roots
from tests.helpers.tools import REPOSITORY

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
    settings = dict(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes=classes, palette=[[0, 0, 0]] * len(classes)),
        pipeline=[LoadImageFromFile(), *([LoadAnnotations()] if load else [])],
    )
    return BaseSegDataset(**settings | kwargs)


def check(
    *datasets, num_classes: int = 3, ignore_index: int = 255, channels=None, cfg=(), **hook_args
) -> None:
    """Runs the hook as a run of training (and validation) would."""
    model = nn.Module()
    model.decode_head = nn.Module()
    model.decode_head.num_classes = num_classes
    model.decode_head.ignore_index = ignore_index
    if channels is not None:
        model.backbone = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Conv2d(4, 5, 3))
    loops = [SimpleNamespace(dataloader=SimpleNamespace(dataset=data)) for data in datasets]
    train, val, test = [*loops, None, None][:3]
    DataCheckHook(**hook_args).before_run(
        SimpleNamespace(
            model=model, cfg=dict(cfg), _train_loop=train, _val_loop=val, _test_loop=test
        )
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


JPEG_BLURS = ('label_ids', 'absent_classes')


def cut(file: Path, keep: float = 0.5) -> None:
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])


@pytest.mark.parametrize('keep', [0.0, 0.5, 0.9])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('kind', ['jpg', 'png', 'bmp', 'tif', 'webp'])
def test_images_that_end_too_early(root, kind, backend, keep, monkeypatch):
    """Another package may have told PIL to fill them up."""
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    noise = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    for index in range(6):
        Image.fromarray(noise).save(root / f'images/{index}.{kind}')
    load = LoadImageFromFile(imdecode_backend=backend)
    data = set_pipeline(dataset_of(root, img_suffix=f'.{kind}'), load, LoadAnnotations())
    check(data)
    cut(root / f'images/4.{kind}', keep)
    with pytest.raises(DataMismatchError, match=f'images/4.{kind}: cannot be read') as error:
        check(data)
    assert len(str(error.value).splitlines()) == 3  # how many, which, what to do
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize('kind', ['jpg', 'png', 'bmp', 'tif'])
def test_label_maps_that_end_too_early(root, kind, monkeypatch):
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    for index in range(6):
        labels = Image.open(root / f'labels/{index}.png')
        labels.save(root / f'labels/{index}.{kind}', quality=100)
    cut(root / f'labels/4.{kind}', 0.7)
    with pytest.raises(DataMismatchError, match=f'labels/4.{kind}: cannot be read .OSError'):
        check(dataset_of(root, seg_map_suffix=f'.{kind}'), cfg=dict(skip_checks=JPEG_BLURS))


def test_images_without_labels_are_read_too(root, monkeypatch):
    data = dataset_of(root, load=False)
    check(data)
    monkeypatch.setattr(PairReader, '_load', Mock(side_effect=AssertionError('read again')))
    check(data)
    monkeypatch.undo()
    cut(root / 'images/4.png')
    with pytest.raises(DataMismatchError, match='images/4.png: cannot be read'):
        check(data)


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


# What is judged: labels as training sees them


class LoadArrays(BaseTransform):
    """Labels in a format of the user's own."""

    def transform(self, results: dict) -> dict:
        path = Path(results['img_path'])
        results['gt_seg_map'] = np.load(path.parents[1] / f'arrays/{path.stem}.npy')
        results['seg_fields'].append('gt_seg_map')
        return results


class LoadBands(BaseTransform):
    def transform(self, results: dict) -> dict:
        results['img'] = np.zeros((8, 10, 7), np.float32)
        results['img_shape'] = results['ori_shape'] = (8, 10)
        return results


class MapIds(BaseTransform):
    def transform(self, results: dict) -> dict:
        results['gt_seg_map'] = np.where(results['gt_seg_map'] >= 100, 255, results['gt_seg_map'])
        return results


def set_pipeline(dataset, *transforms):
    dataset.pipeline.transforms = list(transforms)
    return dataset


def test_a_loader_of_ones_own(root):
    (root / 'arrays').mkdir()
    for index in range(6):
        np.save(root / f'arrays/{index}.npy', np.resize([0, 1, 2], (8, 10)))
    data = set_pipeline(dataset_of(root), LoadImageFromFile(), LoadArrays())
    check(data)
    np.save(root / 'arrays/3.npy', np.full((8, 10), 300))
    with pytest.raises(DataMismatchError, match=r'labels/3.png: label ids \[300\]'):
        check(data)
    (root / 'arrays/3.npy').unlink()
    with pytest.raises(DataMismatchError, match=r'labels/3.png: cannot be read .*arrays/3.npy'):
        check(data)


@pytest.mark.parametrize('between', [[], [RandomCrop((4, 4))]])
def test_ids_mapped_by_a_later_transform(root, between):
    for index in range(6):
        write_labels(root, index, [0, 1, 2, 107])
    load = (LoadImageFromFile(), LoadAnnotations())
    with pytest.raises(DataMismatchError, match=r'label ids \[107\]'):
        check(set_pipeline(dataset_of(root), *load))
    check(set_pipeline(dataset_of(root), *load, *between, MapIds()))
    check(set_pipeline(dataset_of(root), *load, *between, Compose([MapIds()])))
    check(set_pipeline(dataset_of(root), *load, *between, RandomApply([MapIds()], prob=1.0)))


@pytest.mark.parametrize('mapped', ['after', 'before'])
def test_ids_mapped_where_images_are_mixed(root, mapped):
    """Mapping before a mosaic leaves out the images that are mixed in."""
    for index in range(6):
        write_labels(root, index, [0, 1, 2, 107])
    pipeline = [RandomMosaic(prob=1.0, img_scale=(8, 8)), MapIds()]
    pipeline = pipeline if mapped == 'after' else pipeline[::-1]
    data = dataset_of(root, pipeline=[LoadImageFromFile(), LoadAnnotations()])
    mixed = MultiImageMixDataset(ConcatDataset([data]), [])
    mixed.pipeline = pipeline
    with nullcontext() if mapped == 'after' else pytest.raises(DataMismatchError, match='107'):
        check(mixed)


def test_images_resized_before_labels_are_loaded(root):
    dataset = dataset_of(root)  # MMSegmentation's order in testing
    set_pipeline(dataset, LoadImageFromFile(), Resize((40, 32), keep_ratio=True), LoadAnnotations())
    check(dataset)
    write_labels(root, 3, [0, 1, 2], shape=(32, 40))
    with pytest.raises(DataMismatchError, match=r'images/3.png is 10 x 8 .*labels/3.png is 40 x'):
        check(dataset)


def test_images_of_seven_bands(root):
    data = set_pipeline(dataset_of(root), LoadBands(), LoadAnnotations())
    check(data, channels=7)
    with pytest.raises(DataMismatchError, match='7 channels, but the backbone takes 3') as error:
        check(data, channels=3)
    assert 'model.backbone.in_channels=7' in str(error.value)


def test_channels_that_a_later_transform_joins_or_drops(root):
    """MMSegmentation's change detection stacks two images; a grey image has one channel."""

    def second(results: dict) -> dict:
        return {**results, 'img2': results['img']}

    load = (LoadImageFromFile(), LoadAnnotations())
    check(set_pipeline(dataset_of(root), *load, second, ConcatCDInput()), channels=6)
    check(set_pipeline(dataset_of(root), *load, RGB2Gray(out_channels=1)), channels=1)
    with pytest.raises(DataMismatchError, match='1 channels, but the backbone takes 3'):
        check(set_pipeline(dataset_of(root), *load, RGB2Gray(out_channels=1)), channels=3)


def test_slices_of_volumes(root):
    def load(results: dict) -> dict:
        volume = dict(img=np.zeros((3, 8, 10, 5)), gt_seg_map=np.resize([0, 1, 2], (8, 10, 5)))
        return {**results, **volume}

    def take_slice(results: dict) -> dict:
        image = np.moveaxis(results['img'][..., 0], 0, -1)
        return {**results, 'img': image, 'gt_seg_map': results['gt_seg_map'][..., 0]}

    check(set_pipeline(dataset_of(root), load, take_slice), channels=3)


def test_a_format_of_ones_own(root):
    """A transform may replace arrays by what the model takes, under other names or as tensors."""

    def tensors(results: dict) -> dict:
        image, labels = torch.from_numpy(results['img']), torch.from_numpy(results['gt_seg_map'])
        return dict(results, img=image.movedim(-1, 0), gt_seg_map=labels)

    def inputs(results: dict) -> dict:
        return dict(inputs=results['img'], data_samples=results['gt_seg_map'])

    data = set_pipeline(dataset_of(root), LoadImageFromFile(), LoadAnnotations(), tensors, inputs)
    check(data, channels=3)
    write_labels(root, 4, [9])
    with pytest.raises(DataMismatchError, match=r'labels/4.png: label ids \[9\]'):
        check(data, channels=3)


def test_float_images_in_tiff(root):
    for index in range(6):
        cv2.imwrite(str(root / f'images/{index}.tif'), np.ones((8, 10), np.float32))
    load = LoadImageFromFile(to_float32=True, color_type='unchanged', imdecode_backend='cv2')
    data = set_pipeline(dataset_of(root, img_suffix='.tif'), load, LoadAnnotations())
    check(data, channels=1)


def test_labels_inside_test_time_augmentation(root):
    write_labels(root, 4, [0, 3])
    flips = [RandomFlip(prob=p) for p in (0.0, 1.0)]
    views = TestTimeAug([flips, [dict(type='mmseg.LoadAnnotations')]])
    with pytest.raises(DataMismatchError, match=r'labels/4.png: label ids \[3\]'):
        check(set_pipeline(dataset_of(root), LoadImageFromFile(), views))


def test_training_draws_the_same_random_numbers(root):
    np.random.seed(0)
    torch.manual_seed(0)
    expected = np.random.rand(), torch.rand(1)
    np.random.seed(0)
    torch.manual_seed(0)
    data = dataset_of(root)
    check(set_pipeline(data, *data.pipeline.transforms, RandomCrop((4, 4)), MapIds()))
    assert (np.random.rand(), torch.rand(1)) == expected


# What is judged: which way up


def write_turned(root: Path, index: int, tag: int, size, kind: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = tag
    for old in root.glob(f'images/{index}.*'):
        old.unlink()
    Image.new('RGB', size).save(root / f'images/{index}.{kind}', exif=turned)


@pytest.mark.parametrize('kind', ['jpg', 'tif'])
def test_sizes_are_those_that_training_sees(root, kind):
    """OpenCV turns JPEG and TIFF files upright; whichever it does, the label has to follow."""
    for index in range(6):
        write_turned(root, index, tag=6, size=(10, 8), kind=kind)
    seen = LoadImageFromFile()(dict(img_path=str(root / f'images/0.{kind}')))['img'].shape[:2]
    for index in range(6):
        write_labels(root, index, [0, 1, 2], shape=seen)
    check(dataset_of(root, img_suffix=f'.{kind}'))
    write_labels(root, 2, [0, 1, 2], shape=seen[::-1])
    with pytest.raises(DataMismatchError, match=f'images/2.{kind} is'):
        check(dataset_of(root, img_suffix=f'.{kind}'))


@pytest.mark.parametrize(('tag', 'size', 'told'), [(3, (10, 8), False), (1, (10, 8), True)])
def test_an_orientation_that_sizes_do_not_tell(root, tag, size, told, warnings):
    write_turned(root, 2, tag=tag, size=size, kind='png')
    check(dataset_of(root))
    found = [line for line in warnings() if '[orientation]' in line]
    assert len(found) == (0 if told else 1)
    assert told or 'images/2.png: has an orientation tag (3)' in found[0]


# What is judged: whether every class is there


@pytest.fixture
def warnings(monkeypatch):
    """The warnings so far."""
    lines = []
    monkeypatch.setattr(report, 'print_log', lambda text, *_: lines.append(text))
    return lambda: lines


def label_all(root: Path, ids: list[int]) -> None:
    for index in range(6):
        write_labels(root, index, ids)


def test_labels_of_0_and_255(root):
    label_all(root, [0, 255, 255, 0, 0])
    message = (
        r"class 'bright' \(id 1\) has no pixel in any of 6 label maps of BaseSegDataset; 40.0 % of "
        r'all pixels are ignored \(255\); if 255 stands for a class'
    )
    data = dataset_of(root, classes=('dark', 'bright'))
    with pytest.raises(DataMismatchError, match=message) as error:
        check(data, num_classes=2)
    assert 'skip_checks=absent_classes' in str(error.value)
    check(data, num_classes=2, cfg=dict(skip_checks=['absent_classes']))


def test_reduce_zero_label_with_a_background_class(root):
    label_all(root, [0, 1, 2])
    with pytest.raises(DataMismatchError, match=r"'bright' \(id 2\).*is 0 a class\?"):
        check(dataset_of(root, reduce_zero_label=True))


def test_gaps_in_the_ids(root):
    label_all(root, [0, 2])
    with pytest.raises(DataMismatchError, match=r"class 'grey' \(id 1\) has no pixel"):
        check(dataset_of(root))


def test_absent_in_validation_is_a_warning(root, tmp_path_factory, warnings):
    other = tmp_path_factory.mktemp('val')
    shutil.copytree(root, other, dirs_exist_ok=True)
    label_all(other, [0, 1])
    check(dataset_of(root), dataset_of(other))
    (line,) = warnings()
    assert "class 'bright' (id 2) has no pixel in any of 6 label maps" in line


def test_a_class_may_be_in_another_part_of_the_training_data(root, tmp_path_factory):
    other = tmp_path_factory.mktemp('more')
    shutil.copytree(root, other, dirs_exist_ok=True)
    label_all(root, [0, 1])
    check(ConcatDataset([dataset_of(root), dataset_of(other)]))


@pytest.mark.parametrize('case', ['sample', 'crop'])
def test_absence_is_not_known_from_a_part(root, case, warnings):
    label_all(root, [0, 1])
    data = dataset_of(root)
    if case == 'crop':
        set_pipeline(data, *data.pipeline.transforms, RandomCrop((4, 4)), MapIds())
    check(data, **(dict(max_files=2) if case == 'sample' else {}))
    assert '(id 2) has no pixel' in warnings()[0]


# What is judged: names and files


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('car', r"classes of BaseSegDataset is a string, 'car' \(is a comma missing\?\)"),
        (None, 'BaseSegDataset has no names of classes: write metainfo'),
        (('car',), r"one class, 'car', .*classes=\('background', 'car'\)"),
    ],
)
def test_classes_that_are_none(root, classes, message):
    data = dataset_of(root)
    data._metainfo['classes'] = classes
    with pytest.raises(DataMismatchError, match=message):
        check(data)


@pytest.mark.parametrize(
    ('metainfo', 'message'),
    [
        (dict(classes='car'), r"classes of CamVidDataset is a string, 'car'"),
        (dict(classes=('car', 'ufo')), 'data set CamVidDataset: new classes .*ufo'),
        (dict(palette=[[0, 0, 0]]), 'data set CamVidDataset: palette does not match'),
    ],
)
def test_classes_are_looked_at_before_files(metainfo, message):
    with pytest.raises(DataMismatchError, match=message):
        check_data_roots(dict(type='CamVidDataset', data_root='nosuch', metainfo=metainfo))


def test_what_is_wrong_with_two_data_sets_is_said_once(root, warnings):
    shutil.copy(root / 'images/0.png', root / 'images/a.PNG')
    with pytest.raises(DataMismatchError) as error:
        check(dataset_of(root), dataset_of(root), num_classes=19)
    assert str(error.value).count('num_classes is 19') == 1
    assert len([line for line in warnings() if '[unused_files]' in line]) == 1


def test_plausible_mistakes_get_one_line(root, tmp_path_factory, warnings):
    shutil.copy(root / 'images/0.png', root / 'images/a.PNG')
    shutil.copy(root / 'images/0.png', root / 'images/b.PNG')
    shutil.copy(root / 'images/0.png', root / 'images/c.jpeg')
    check(
        dataset_of(root),
        dataset_of(root, classes=('bright', 'grey', 'dark'), reduce_zero_label=True),
        cfg=dict(skip_checks=['absent_classes']),
    )
    expected = {
        'unused_files': 'images has 2 *.PNG, 1 *.jpeg, which BaseSegDataset leaves out',
        'class_order': "class 0 is 'dark' in training (BaseSegDataset), but 'bright' in validation",
        'zero_label': 'reduce_zero_label is False in training, but True in validation',
        'train_in_val': '6 images are both trained on and validated on, such as',
    }
    for name, text in expected.items():
        lines = [line for line in warnings() if f'[{name}]' in line]
        assert lines and all(text in line for line in lines), name


# Time


def test_sound_files_are_remembered_until_they_change(root, monkeypatch):
    reads = []
    load = PairReader._load
    monkeypatch.setattr(
        PairReader, '_load', lambda self, info: reads.append(info['img_path']) or load(self, info)
    )
    check(dataset_of(root))
    assert len(reads) == 6
    reads.clear()
    check(dataset_of(root))
    assert not reads
    write_labels(root, 4, [0, 9])
    with pytest.raises(DataMismatchError, match=r'labels/4.png: label ids \[9\]'):
        check(dataset_of(root))
    with pytest.raises(DataMismatchError, match=r'labels/4.png: label ids \[9\]'):
        check(dataset_of(root))  # what is wrong is not remembered
    write_labels(root, 4, [0])
    with pytest.raises(DataMismatchError, match=r'label ids \[2\]'):
        check(dataset_of(root, classes=CLASSES[:2]), num_classes=2)
    reads.clear()
    check(set_pipeline(dataset_of(root), LoadImageFromFile(), LoadAnnotations(), MapIds()))
    assert len(reads) == 6  # the code of one's own transforms may change


@pytest.mark.parametrize('content', ['', '[]', '{"x": 1}', 'no JSON'])
def test_damaged_memories_do_no_harm(root, content):
    check(dataset_of(root))
    for file in Path(os.environ['XDG_CACHE_HOME']).rglob('*.json'):
        file.write_text(content)
    write_labels(root, 4, [9])
    with pytest.raises(DataMismatchError, match='labels/4.png'):
        check(dataset_of(root))


def test_several_processes_see_what_one_sees(root):
    for index in range(6, 100):
        shutil.copy(root / 'images/0.png', root / f'images/{index}.png')
        write_labels(root, index, [0, 1] if index != 70 else [9])
    errors = []
    for num_workers in (0, 2):
        with pytest.raises(DataMismatchError) as error:
            check(dataset_of(root), num_workers=num_workers)
        errors.append(str(error.value))
    assert errors[0] == errors[1]
    assert 'labels/70.png' in errors[0]


def test_every_check_has_a_name_and_a_word_in_the_docs():
    documented = (REPOSITORY / 'docs/checks.md').read_text()
    for name, what in CHECKS.items():
        assert what, name
        assert f'| `{name}` |' in documented, name
