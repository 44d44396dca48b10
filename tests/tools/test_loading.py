"""Data loading: cached images are the same images, and measured rates are those of the data."""

import errno
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_faseg.apis import UserError, load_config
from mmseg_faseg.benchmark.loading import bottleneck, build_loader, measure_loader, measure_process
from mmseg_faseg.datasets import CachedLoadAnnotations, CachedLoadImageFromFile, array_cache
from mmseg_faseg.datasets.array_cache import ArrayCache
from mmseg_faseg.engine.data_check import DataCheckHook, DataMismatchError
from tests.helpers.tools import call_tool, run

# One of every data set's.
WITH_CACHE = [
    'faseg_swin-t_ade20k',
    'faseg_swin-b_ade20k',
    'faseg_r50_cityscapes',
    'faseg_r18_camvid',
]


@pytest.fixture(autouse=True)
def threads():
    """Measuring takes one thread, as a worker does."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def root(tmp_path):
    """Six images, some grey, JPEG and PNG, with label maps of 0..3, one of them with a palette."""
    rng = np.random.default_rng(0)
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
    for index in range(6):
        shape = (24 + index, 32) if index == 2 else (24 + index, 32, 3)
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        image.save(tmp_path / f'images/{index}.jpg', quality=90)
        labels = Image.fromarray(rng.integers(0, 4, (24 + index, 32), dtype=np.uint8))
        if index == 3:
            labels.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        labels.save(tmp_path / f'labels/{index}.png')
    return tmp_path


def info(root: Path, index: int = 0, **more) -> dict:
    """A data set's entry."""
    return (
        dict(
            img_path=str(root / f'images/{index}.jpg'),
            seg_map_path=str(root / f'labels/{index}.png'),
            reduce_zero_label=False,
            label_map=None,
            seg_fields=[],
        )
        | more
    )


def cached(root: Path, **options) -> list[BaseTransform]:
    kinds = (CachedLoadImageFromFile, CachedLoadAnnotations)
    return [kind(cache_dir=str(root / 'cache'), **options) for kind in kinds]


def load(transforms: list[BaseTransform], results: dict) -> dict:
    for transform in transforms:
        results = transform(results)
    return results


def assert_same(results: dict, expected: dict) -> None:
    assert results.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert (results[key].dtype, results[key].strides) == (value.dtype, value.strides)
            np.testing.assert_array_equal(results[key], value)
            assert results[key].flags.writeable
        else:
            assert results[key] == value


@pytest.fixture
def no_decoder(monkeypatch):
    """A switch: from then on nothing can be decoded."""

    def forbid():
        def refuse(*_, **__):
            raise AssertionError('decoded again')

        monkeypatch.setattr(mmcv, 'imfrombytes', refuse)

    return forbid


# --- cached images are the same images


@pytest.mark.parametrize('index', range(6))
@pytest.mark.parametrize(
    'asked',
    [
        dict(),
        dict(reduce_zero_label=True),
        dict(label_map={0: 255, 1: 0, 2: 255, 3: 1}),
    ],
    ids=['as they are', 'without label 0', 'chosen classes'],
)
def test_same_results_from_the_file_and_from_the_cache(root, no_decoder, index, asked):
    expected = load([LoadImageFromFile(), LoadAnnotations()], info(root, index, **asked))
    assert_same(load(cached(root), info(root, index, **asked)), expected)
    no_decoder()
    assert_same(load(cached(root), info(root, index, **asked)), expected)


def test_settings_of_the_loaders_are_honoured(root):
    for options in (dict(), dict(to_float32=True), dict(color_type='grayscale')):
        transform = CachedLoadImageFromFile(cache_dir=str(root / 'cache'), **options)
        expected = LoadImageFromFile(**options)(info(root))
        for _ in range(2):
            assert_same(transform(info(root)), expected)


def test_data_sets_of_other_labels_share_a_folder(root):
    for asked in (dict(), dict(reduce_zero_label=True), dict(label_map={3: 0}), dict()):
        expected = LoadAnnotations()(info(root, **asked))
        assert_same(cached(root)[1](info(root, **asked)), expected)


def test_whoever_writes_into_an_image_writes_into_his_own(root):
    expected = load(cached(root), info(root))
    images, labels = (expected[key].copy() for key in ('img', 'gt_seg_map'))
    for _ in range(2):
        loaded = load(cached(root), info(root))
        np.testing.assert_array_equal(loaded['img'], images)
        np.testing.assert_array_equal(loaded['gt_seg_map'], labels)
        loaded['img'][:] = 0
        loaded['gt_seg_map'][:] = 9


@pytest.mark.parametrize('same', ['size', 'time'])
def test_a_changed_image_is_read_again(root, same):
    file = root / 'images/0.bmp'  # whose size does not depend on what it shows
    cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    transform = cached(root)[0]
    transform(dict(img_path=str(file)))
    before = file.stat()
    cv2.imwrite(str(file), np.full((8, 8 if same == 'size' else 9, 3), 7, np.uint8))
    stamp = before.st_mtime_ns + (1 if same == 'size' else 0)
    os.utime(file, ns=(stamp, stamp))
    assert (file.stat().st_size == before.st_size) == (same == 'size')
    assert (transform(dict(img_path=str(file)))['img'] == 7).all()


def test_a_damaged_file_is_replaced(root, no_decoder):
    transform = cached(root)[0]
    expected = transform(info(root))
    (kept,) = (root / 'cache').glob('*.npy')
    for damage in (b'', kept.read_bytes()[:-5], b'no array'):
        kept.write_bytes(damage)
        assert_same(transform(info(root)), expected)
    no_decoder()
    assert_same(transform(info(root)), expected)


def test_what_is_not_in_the_file_system_is_loaded_as_always(root):
    transform = CachedLoadImageFromFile(cache_dir=str(root / 'cache'), ignore_empty=True)
    assert transform(dict(img_path=str(root / 'images/none.jpg'))) is None
    with pytest.raises(FileNotFoundError):
        cached(root)[0](dict(img_path=str(root / 'images/none.jpg')))
    assert not list((root / 'cache').glob('*.npy'))


def test_workers_share_what_one_of_them_decoded(root, no_decoder):
    def batches(load_image, load_annotations):
        pipeline = [load_image, load_annotations, dict(type='RandomFlip', prob=0.5)]
        dataset = dict(
            type='BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            pipeline=[*pipeline, dict(type='PackSegInputs')],
        )
        loader = dict(
            batch_size=2,
            num_workers=2,
            persistent_workers=True,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dataset,
        )
        with DefaultScope.overwrite_default_scope('mmseg'):
            loader = Runner.build_dataloader(loader, seed=0)
        return [batch for _ in range(2) for batch in loader]

    def same(first, second):
        return all(
            torch.equal(x, y)
            and torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
            and a.metainfo == b.metainfo
            for one, other in zip(first, second, strict=True)
            for x, y in zip(one['inputs'], other['inputs'], strict=True)
            for a, b in zip(one['data_samples'], other['data_samples'], strict=True)
        )

    plain = batches(dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'))
    cache = dict(cache_dir=str(root / 'cache'))
    kinds = [
        dict(type=kind.__name__, **cache)
        for kind in (CachedLoadImageFromFile, CachedLoadAnnotations)
    ]
    assert same(plain, batches(*kinds))
    assert len(list((root / 'cache').glob('*.npy'))) == 12
    no_decoder()  # in the workers to come, too
    assert same(plain, batches(*kinds))


def test_data_are_checked_before_training_all_the_same(root):
    dataset = BaseSegDataset(
        metainfo=dict(classes=('a', 'b', 'c')),
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=cached(root),
    )
    with pytest.raises(DataMismatchError, match=r'label ids \[3\] are no class'):
        DataCheckHook()._check_files(dataset, 3, 255)


# --- the folder


@pytest.fixture
def messages(monkeypatch):
    """What is logged about caches."""
    logged = []
    monkeypatch.setattr(array_cache, 'print_log', lambda text, *_: logged.append(text))
    return logged


def size_of(folder: Path) -> int:
    """Bytes of all arrays."""
    return sum(np.load(file).nbytes for file in folder.glob('*.npy'))


def test_the_limit_holds_and_all_images_load(root, messages):
    image_bytes = 24 * 32 * 3
    transform = cached(root, max_bytes=3 * image_bytes)[0]
    for _ in range(2):
        for index in range(6):
            expected = LoadImageFromFile()(info(root, index))
            assert_same(transform(info(root, index)), expected)
    assert image_bytes <= size_of(root / 'cache') <= 3 * image_bytes
    assert len(messages) == 1 and 'takes no more images: its limit' in messages[0]


def fill(folder: Path, name: str) -> None:
    """Offers 50 arrays of 1000 bytes."""
    cache = ArrayCache(folder, 60_000)
    for index in range(50):
        cache.write(folder / f'{name}_{index}.npy', np.zeros(1000, np.uint8))


def test_the_limit_is_of_all_processes_together(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=fill, args=(tmp_path, name)) for name in 'abcd']
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert size_of(tmp_path) == 60_000


def test_a_full_disk_costs_the_cache_only(root, monkeypatch, messages):
    def refuse(file, array):
        Path(file).write_bytes(b'half')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(array_cache.np, 'save', refuse)
    transforms = cached(root)
    for index in range(6):
        expected = load([LoadImageFromFile(), LoadAnnotations()], info(root, index))
        assert_same(load(transforms, info(root, index)), expected)
    assert [file.name for file in (root / 'cache').iterdir()] == ['bytes']
    assert len(messages) == 2  # one per transform
    assert all('No space left on device' in message for message in messages)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(cache_dir='{root}/images/0.jpg'), 'cache_dir: cannot write to .*0.jpg'),
        (dict(cache_dir='/proc/none'), 'cache_dir: cannot write to /proc/none'),
        (dict(cache_dir='{root}/cache', max_bytes=0), 'max_bytes .* at least 1, got 0'),
    ],
)
@pytest.mark.parametrize('kind', [CachedLoadImageFromFile, CachedLoadAnnotations])
def test_a_folder_that_cannot_be_used(root, kind, options, message):
    options['cache_dir'] = options['cache_dir'].format(root=root)
    with pytest.raises(UserError, match=message) as error:
        kind(**options)
    assert '\n' not in str(error.value)


# --- configs


@pytest.mark.parametrize('name', WITH_CACHE)
def test_the_switch(name, tmp_path, monkeypatch):
    monkeypatch.delenv('IMAGE_CACHE', raising=False)
    off = load_config(f'mmseg_faseg::{name}.py').to_dict()
    monkeypatch.setenv('IMAGE_CACHE', str(tmp_path / 'cache'))
    on = load_config(f'mmseg_faseg::{name}.py').to_dict()
    for config, prefix in ((off, ''), (on, 'Cached')):
        types = [step['type'] for step in config['train_dataloader']['dataset']['pipeline'][:2]]
        assert types == [f'{prefix}LoadImageFromFile', f'{prefix}LoadAnnotations']
    for step in on['train_dataloader']['dataset']['pipeline'][:2]:
        assert step['cache_dir'] == str(tmp_path / 'cache')
        TRANSFORMS.build(step)
    rest = [config['train_dataloader']['dataset'].pop('pipeline')[2:] for config in (off, on)]
    assert rest[0] == rest[1]
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'model'):
        assert off[key] == on[key]


@pytest.mark.parametrize('name', [*WITH_CACHE, 'faseg_toy'])
def test_loaders_are_set_for_a_gpu(name):
    cfg = load_config(f'mmseg_faseg::{name}.py')
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg[key]
        assert loader.pin_memory and loader.persistent_workers and loader.num_workers > 0


@pytest.mark.subprocess
def test_no_warning_about_pinned_memory_without_gpu(tmp_path):
    code = (
        'import mmseg_faseg, torch\n'
        'from torch.utils.data import DataLoader\n'
        'for workers in (0, 1):\n'
        '    list(DataLoader(torch.zeros(4), pin_memory=True, num_workers=workers))\n'
    )
    done = run(sys.executable, '-c', code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'pin_memory' not in done.stderr + done.stdout


# --- measured rates


@TRANSFORMS.register_module()
class SleepForTest(BaseTransform):
    """Takes 50 ms of time and none of the processor's."""

    def transform(self, results):
        time.sleep(0.05)
        return results


def sleepy_config(path: Path, write_config):
    cfg = load_config(str(write_config(path)))
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='SleepForTest'))
    return cfg


def test_rates_and_shares_are_those_of_the_transforms(write_config, tmp_path):
    cfg = sleepy_config(tmp_path / 'tiny.py', write_config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        process = measure_process(build_loader(cfg, 0), 1)
        alone, pair = (measure_loader(build_loader(cfg, number), 1) for number in (0, 2))
    assert process['images_per_second'] < 20
    names, shares = zip(*process['shares'], strict=True)
    assert names == (
        'LoadImageFromFile', 'LoadAnnotations', 'SleepForTest', 'RandomFlip', 'PackSegInputs',
        'data set',
    )  # fmt: skip
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0  # nothing of the warm-up is in them
    assert max(shares) == shares[2]
    assert alone < 20 < pair < 40 * 1.3  # batches in flight at the start count


def test_transforms_below_wrappers_are_timed(write_config, tmp_path):
    cfg = sleepy_config(tmp_path / 'tiny.py', write_config)
    repeated = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[repeated])
    with DefaultScope.overwrite_default_scope('mmseg'):
        process = measure_process(build_loader(cfg, 0), 0.3)
    assert max(process['shares'], key=lambda pair: pair[1])[0] == 'SleepForTest'


MEASURED = dict(
    cores=2,
    process=dict(images_per_second=30.0),
    rows=[
        dict(workers=workers, images_per_second=rate)
        for workers, rate in ((0, 500.0), (1, 25.0), (2, 40.0), (4, 44.0))
    ],
)


@pytest.mark.parametrize(
    ('consumes', 'side', 'workers'),
    [
        (20, 'The model', '1 worker '),
        (25, 'The model', '1 worker '),
        (26, 'The model', '2 workers '),
        (44, 'The model', '4 workers '),
        (45, 'Data loading', '3 workers '),  # of 20 images/s, what each of two cores gives
        (400, 'Data loading', '20 workers '),
    ],
)
def test_bottleneck(consumes, side, workers):
    """Loading in the model's own process never keeps up: they take turns."""
    text = bottleneck(MEASURED, consumes)
    assert text.startswith(f'{side} is the bottleneck')
    assert workers in text


def test_bottleneck_without_workers():
    assert ' 4 workers ' in bottleneck({**MEASURED, 'rows': MEASURED['rows'][:1]}, 100)


def test_tool(write_config, tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path / 'tiny.py')
    call_tool(
        'benchmark_loading.py', config, '--workers', 0, 1, '--seconds', 0.2, '--consumes', 1e9,
        '--out', tmp_path / 'out', cwd=tmp_path, monkeypatch=monkeypatch,
    )  # fmt: skip
    results = json.loads((tmp_path / 'out/loading.json').read_text())
    assert [row['workers'] for row in results['rows']] == [0, 1]
    assert all(row['images_per_second'] > 0 for row in (results['process'], *results['rows']))
    assert results['images_per_batch'] == 2
    assert results['bottleneck'].startswith('Data loading is the bottleneck')
    text = (tmp_path / 'out/loading.md').read_text()
    for expected in ('PackSegInputs', '1 worker ', results['bottleneck'], 'benchmark_loading.py'):
        assert expected in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--workers', '0', '-1'], '--workers must be at least 0, got -1'),
        (['--seconds', '0'], '--seconds must be a number above 0, got 0'),
        (['--seconds', 'nan'], '--seconds must be a number above 0, got nan'),
        (['--consumes', '-3'], '--consumes must be a number above 0, got -3'),
        (['--cfg-options', 'data_root=nowhere'], "missing folder 'nowhere/images'"),
        (['--cfg-options', 'train_dataloader=None'], 'tiny.py has no train_dataloader'),
        (['--out', 'tiny.py/out'], '--out: no folder can be made at tiny.py/out'),
        (
            ['--cfg-options', 'train_dataloader.dataset.pipeline.0.type=CachedLoadImageFromFile',
             'train_dataloader.dataset.pipeline.0.cache_dir=tiny.py'],
            'cache_dir: cannot write to tiny.py',
        ),
    ],
)  # fmt: skip
def test_tool_says_what_is_wrong_in_one_line(
    write_config, tmp_path, monkeypatch, capsys, arguments, message
):
    write_config(tmp_path / 'tiny.py')
    with pytest.raises(SystemExit) as exit_:
        call_tool(
            'benchmark_loading.py', 'tiny.py', *arguments, cwd=tmp_path, monkeypatch=monkeypatch
        )
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob('loading.*'))
