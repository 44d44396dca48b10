"""Outputs about different images have different names."""

import numpy as np
import pytest
import torch
from mmengine.visualization import LocalVisBackend
from mmseg.apis import MMSegInferencer
from mmseg.evaluation import CityscapesMetric, IoUMetric
from PIL import Image

from mmseg_faseg.compat.output_names import output_names


@pytest.mark.parametrize(
    ('root', 'files', 'names'),
    [
        (None, ['/d/a/0.jpg', '/d/b/0.jpg'], ['a/0', 'b/0']),
        (None, ['/d/a/0.jpg', '/d/a/1.jpg'], ['0', '1']),
        (None, ['/d/a/b/0.jpg', '/d/0.jpg'], ['a/b/0', '0']),
        (None, ['/d/0.jpg'], ['0']),
        ('/d', ['/d/a/0.jpg', '/d/a/1.jpg'], ['a/0', 'a/1']),
        ('/d/', ['/d/a/0.jpg'], ['a/0']),
        ('/d/other', ['/d/a/0.jpg', '/d/b/0.jpg'], ['a/0', 'b/0']),  # none is below it
        ('/d/a', ['/d/a/0.jpg', '/d/ab/0.jpg'], ['a/0', 'ab/0']),
        ('d', ['d/a/0.jpg', './d/b/0.jpg'], ['a/0', 'b/0']),
        (None, ['/d/0.jpg', '/d/0.png', '/d/1.jpg'], ['0.jpg', '0.png', '1']),
        (None, ['/d/0.jpg', '/d/0.png', '/d/0.jpg.tif'], ['0.jpg', '0.png', '0.jpg.tif']),
        (None, ['/d/0.jpg', '/d/0.jpg'], ['0', '0']),
        (None, ['/d/a.b/0.left.png', '/d/c/0'], ['a.b/0.left', 'c/0']),
        (None, ['s3://bucket/a/0.jpg', 's3://bucket/b/0.jpg'], ['a/0', 'b/0']),
        ('/d', [], []),
    ],
)
def test_names(root, files, names):
    assert output_names(files, root) == dict(zip(files, names, strict=True))


def prediction(path, label=0) -> dict:
    """What a metric takes of an image's prediction."""
    labels = torch.full((1, 4, 4), label)
    return dict(img_path=path, pred_sem_seg=dict(data=labels), gt_sem_seg=dict(data=labels))


def test_label_maps_keep_subfolders_and_metrics_their_values(tmp_path):
    metric = IoUMetric(output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=('a', 'b'))
    files = ['/d/a/0.jpg', '/d/b/0.jpg', '/d/b/0.png', '/elsewhere/7.jpg']
    metric.output_names = output_names(files[:3])
    metric.process({}, [prediction(file, label=i % 2) for i, file in enumerate(files)])
    written = {str(file.relative_to(tmp_path)): file for file in tmp_path.rglob('*.png')}
    assert written.keys() == {'a/0.png', 'b/0.jpg.png', 'b/0.png.png', '7.png'}
    assert np.array(Image.open(written['b/0.jpg.png'])).max() == 1
    assert np.array(Image.open(written['b/0.png.png'])).max() == 0
    assert metric.output_dir == str(tmp_path)
    assert metric.evaluate(4)['mIoU'] == 100


def test_without_names_label_maps_are_named_as_ever(tmp_path):
    metric = IoUMetric(output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process({}, [prediction('/d/a/0.jpg')])
    assert [file.name for file in tmp_path.iterdir()] == ['0.png']


def test_metrics_that_write_by_themselves_keep_subfolders(tmp_path, monkeypatch):
    monkeypatch.setattr('mmseg.evaluation.metrics.citys_metric.CSEval', object())
    monkeypatch.setattr(CityscapesMetric, '_convert_to_label_id', staticmethod(lambda x: x))
    metric = CityscapesMetric(str(tmp_path), format_only=True, keep_results=True)
    files = ['/d/a/0.jpg', '/d/b/0.jpg']
    metric.output_names = output_names(files)
    metric.process({}, [prediction(file) for file in files])
    assert [file for file, _ in metric.results] == [f'{tmp_path}/{name}/0.png' for name in 'ab']
    assert all((tmp_path / name / '0.png').is_file() for name in 'ab')


def test_painting_whose_name_has_a_folder_is_written(tmp_path):
    backend = LocalVisBackend(str(tmp_path))
    for name in ('a/0', 'b/0', '0'):
        backend.add_image(name, np.zeros((4, 4, 3), np.uint8), step=2)
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob('*.png')}
    assert written == {'vis_image/a/0_2.png', 'vis_image/b/0_2.png', 'vis_image/0_2.png'}


@pytest.fixture
def inferencer(trained):
    return MMSegInferencer(str(trained.config), str(trained.checkpoint), device='cpu')


def test_inferencer_keeps_subfolders(inferencer, tmp_path):
    files = []
    for index, name in enumerate(('a/0.png', 'b/0.png', 'b/1.png')):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (64, 64), (index, 0, 0)).save(tmp_path / name)
        files.append(str(tmp_path / name))
    out = tmp_path / 'out'
    result = inferencer([*files, np.zeros((64, 64, 3), np.uint8)], out_dir=str(out))
    painted = {str(file.relative_to(out / 'vis')) for file in (out / 'vis').rglob('*.*')}
    assert painted == {'a/0.png', 'b/0.png', 'b/1.png', '00000003_vis.jpg'}
    assert len(list((out / 'pred').iterdir())) == 4
    assert len(result['predictions']) == 4


def test_inferencer_returns_paintings_with_and_without_a_folder(inferencer, tmp_path):
    images = [np.zeros((64, 64, 3), np.uint8)] * 2
    shown = inferencer(images, return_vis=True)['visualization']
    written = inferencer(images, return_vis=True, out_dir=str(tmp_path))['visualization']
    assert np.array_equal(shown, written)
    assert len(shown) == 2
