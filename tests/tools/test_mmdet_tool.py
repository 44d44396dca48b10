"""MMDetection's own tools and inferencer run our detectors, and ours give the same."""

import json

import pytest
from mmdet.apis import DetInferencer

from tests.helpers.optional import NO_TIMM
from tests.helpers.tools import REPOSITORY, run_tool

CONFIG = REPOSITORY / 'configs' / 'faseg_lite0_nuclei-instance.py'
NUCLEI = REPOSITORY / 'tests' / 'data' / 'nuclei'
SMALL = [
    '--cfg-options', 'model.backbone.init_cfg=None', 'train_cfg.max_iters=2', 'param_scheduler=[]',
    'model.panoptic_head.num_queries=20', 'model.panoptic_head.pixel_decoder.encoder.num_layers=1',
    'model.panoptic_head.transformer_decoder.num_layers=4', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False', 'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False', 'default_hooks.logger.interval=1',
]  # fmt: skip


def tool(name, *arguments, cwd, options=SMALL):
    result = run_tool(name, *arguments, *options, cwd=cwd, NUCLEI_ROOT=NUCLEI)
    assert result.returncode == 0, result.stderr
    return result.stdout


def metrics(work_dir):
    (file,) = work_dir.glob('*/*.json')
    return {k: v for k, v in json.loads(file.read_text()).items() if 'time' not in k}


@pytest.mark.subprocess
def test_training_testing_and_inference(tmp_path):
    pytest.importorskip('timm', reason=NO_TIMM)
    said = tool('mmdet_tool.py', 'train', CONFIG, '--work-dir', tmp_path / 'run', cwd=tmp_path)
    assert '2 iterations' in said
    assert 'FASegDetector (TimmFeatures, FASegPanopticHead), 1 classes' in said
    checkpoint = tmp_path / 'run' / 'iter_2.pth'
    test = (CONFIG, checkpoint, '--work-dir')
    tool('mmdet_tool.py', 'test', *test, tmp_path / 'theirs', cwd=tmp_path)
    tool('test.py', *test, tmp_path / 'ours', cwd=tmp_path)
    found = metrics(tmp_path / 'ours')
    assert found == metrics(tmp_path / 'theirs')
    assert 'coco/segm_mAP' in found
    tool('test.py', checkpoint, '--work-dir', tmp_path / 'stored', cwd=tmp_path, options=())
    assert found == metrics(tmp_path / 'stored')

    (config,) = (tmp_path / 'run').glob('*.py')
    inferencer = DetInferencer(str(config), str(checkpoint), device='cpu', show_progress=False)
    images = sorted(map(str, (NUCLEI / 'images' / 'val').iterdir()))
    predictions = inferencer(images, return_datasamples=True, no_save_vis=True)['predictions']
    assert [len(one.pred_instances.masks[0]) for one in predictions] == [256, 256]


def test_data_that_are_not_there(tmp_path):
    result = run_tool('train.py', CONFIG, cwd=tmp_path, NUCLEI_ROOT=tmp_path / 'nowhere')
    assert result.returncode == 2
    assert f"'{tmp_path}/nowhere/annotations/instances_train.json'" in result.stderr
    assert 'NUCLEI_ROOT=/path' in result.stderr
