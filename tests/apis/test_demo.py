"""The demo trains, evaluates, draws, resumes, and says when it falls short."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData

from mmseg_faseg.apis import UserError
from mmseg_faseg.apis.demo import run_demo
from mmseg_faseg.apis.demo_tasks import true_segments
from tests.helpers.configs import load
from tests.helpers.tools import REPOSITORY, run_tool

SMALL = """
_base_ = ['{repository}/configs/{name}.py']
loading = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loading, dataset=dict(num_images=4))
val_dataloader = dict(**loading, dataset=dict(num_images=3))
test_dataloader = val_dataloader
"""


def small_config(folder: Path, name: str) -> str:
    config = folder / f'{name}_small.py'
    config.write_text(SMALL.format(repository=REPOSITORY, name=name))
    return str(config)


@pytest.fixture(scope='module')
def first_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo')
    config = small_config(folder, 'faseg_toy')
    arguments = ('--config', config, '--iters', 2, '--data-root', 'data', '--work-dir', 'work')
    return folder, run_tool('demo.py', *arguments, cwd=folder)


@pytest.mark.subprocess
def test_too_low_miou_is_said_and_returned(first_run):
    _, result = first_run
    assert result.returncode == 1, result.stderr
    assert re.search(r'reached mIoU 0\.\d{3}, less than the 0.70 it should', result.stderr)


@pytest.mark.subprocess
def test_says_where_everything_is(first_run):
    folder, result = first_run
    found = dict(re.findall(r'^  (data|weights)\s+(\S+)$', result.stdout, re.M))
    pictures = re.findall(r'^  picture\s+(\S+)$', result.stdout, re.M)
    assert re.search(r'faseg_toy_small: mIoU 0\.\d{3} on 3 images', result.stdout)
    assert len(list((folder / found['data']).rglob('*.png'))) == 14
    assert (folder / found['weights']).is_file()
    assert {Path(picture).name for picture in pictures} == {'predictions.png', 'focus.png'}
    for picture in pictures:
        pixels = imread(folder / picture)
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 0.05


@pytest.mark.subprocess
def test_second_call_trains_nothing(first_run, monkeypatch, capsys):
    folder, first = first_run
    monkeypatch.setattr('mmseg_faseg.apis.demo.train', None)
    config = small_config(folder, 'faseg_toy')
    score = run_demo(config, str(folder / 'work'), data_root=str(folder / 'data'), iters=2)
    assert 'Training is done already' in capsys.readouterr().out
    assert f'mIoU {score.value:.3f} on' in first.stdout


@pytest.mark.subprocess
def test_interrupted_training_goes_on(first_run, tmp_path):
    folder, _ = first_run
    latest = folder / 'work/iter_2.pth'
    (tmp_path / 'last_checkpoint').write_text(str(latest))
    config = small_config(folder, 'faseg_toy')
    run_demo(config, str(tmp_path), data_root=str(folder / 'data'), iters=3)
    logs = [file.read_text() for file in tmp_path.glob('*/*.log')]
    assert any('resumed epoch: 0, iter: 2' in log for log in logs)
    assert (tmp_path / 'iter_3.pth').is_file()


@pytest.mark.subprocess
def test_baseline_and_missing_checkpoint(first_run, tmp_path):
    folder, _ = first_run
    config = small_config(folder, 'mask2former_toy')
    options = dict(work_dir=str(tmp_path), data_root=str(folder / 'data'))
    assert 0 <= run_demo(config, iters=1, **options).value < 0.7
    assert (tmp_path / 'predictions.png').is_file()
    assert not (tmp_path / 'focus.png').exists()  # Mask2Former has no focus
    with pytest.raises(UserError, match='nothing.pth'):
        run_demo(config, checkpoint='nothing.pth', **options)


def test_toy_configs_share_data_schedule_and_seed():
    faseg, mask2former = load('faseg_toy'), load('mask2former_toy')
    for key in (
        'train_dataloader',
        'val_dataloader',
        'optim_wrapper',
        'param_scheduler',
        'train_cfg',
        'randomness',
    ):
        assert faseg[key] == mask2former[key]
    assert faseg.model.backbone == mask2former.model.backbone
    assert faseg.model.decode_head.transformer_decoder.num_layers % 4 == 1


PANOPTIC = """
_base_ = ['{repository}/configs/faseg_toy-panoptic.py']
loading = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loading, dataset=dict(num_images=4))
val_dataloader = dict(**loading, dataset=dict(num_images=3))
test_dataloader = val_dataloader
folder = 'data/toy_scenes/edition1_seed0_size128'
test_evaluator = [
    dict(
        type='CocoPanopticMetric',
        ann_file=f'{{folder}}/panoptic_val_3.json',
        seg_prefix=f'{{folder}}/panoptic/val',
    ),
    dict(type='CocoMetric', ann_file=f'{{folder}}/instances_val_3.json', metric='segm'),
]
"""


@pytest.fixture(scope='module')
def panoptic_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('panoptic')
    config = folder / 'small.py'
    config.write_text(PANOPTIC.format(repository=REPOSITORY))
    arguments = ('--config', config, '--iters', 1, '--data-root', 'scenes', '--work-dir', 'work')
    return folder, run_tool('demo.py', *arguments, cwd=folder)


@pytest.mark.subprocess
def test_segments_are_evaluated_in_one_line(panoptic_run):
    folder, result = panoptic_run
    assert result.returncode == 1, result.stderr
    assert re.search(r'reached PQ 0\.\d{3}, less than the 0\.\d\d it should', result.stderr)
    share = r'-?[01]\.\d{3}'
    line = (
        rf'^small: PQ {share} \(things {share}, stuff {share}\), '
        rf'mask AP {share} \(at IoU 0.5: {share}\) on 3 images$'
    )
    assert re.search(line, result.stdout, re.M)
    assert re.search(r'^  data     scenes$', result.stdout, re.M)
    assert not (folder / 'data').exists()  # metrics read from the given root, too


@pytest.mark.subprocess
def test_segments_are_drawn_and_the_next_steps_named(panoptic_run):
    folder, result = panoptic_run
    (picture,) = re.findall(r'^  picture\s+(\S+)$', result.stdout, re.M)
    pixels = imread(folder / picture)
    assert min(pixels.shape[:2]) > 100
    assert pixels.std() > 0.05
    steps = re.findall(r'^  next     (.+)$', result.stdout, re.M)
    (config,) = re.findall(r'mmseg_faseg::(\S+)\.py', ' '.join(steps))
    (page,) = re.findall(r'docs/\S+\.md', ' '.join(steps))
    assert (REPOSITORY / 'configs' / f'{config}.py').is_file()
    assert (REPOSITORY / page).is_file()


def test_the_truth_as_it_is_drawn():
    sample = DetDataSample()
    sample.gt_sem_seg = PixelData(sem_seg=torch.tensor([[[4, 4, 4, 6, 255]]]))
    masks = np.array([[[1, 0, 0, 0, 0]], [[0, 0, 1, 0, 0]]], np.uint8)
    sample.gt_instances = InstanceData(masks=BitmapMasks(masks, 1, 5))
    assert true_segments(sample).tolist() == [[1004, 4, 2004, 6, 255]]
