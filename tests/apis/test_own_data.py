"""What is written for folders of photos trains as it stands."""

import json
import os
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_faseg.apis.config import load_config
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.apis.own_data import check_same, prepare
from mmseg_faseg.errors import UserError
from mmseg_faseg.own_data.examine import examine
from mmseg_faseg.own_data.settings import Machine, choose
from mmseg_faseg.own_data.survey import Looked
from tests.helpers.photos import make_folders
from tests.helpers.tools import REPOSITORY, run

STOCK_TRAIN = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'train.py'


def written(tmp_path, folders, classes=('other', 'car'), out='runs/street', **kwargs):
    init_default_scope('mmseg')
    examined = examine(str(folders[0]), str(folders[1]), classes=classes, val='25%')
    kwargs = dict(model='tiny', command=['faseg', 'train', 'photos']) | kwargs
    return prepare(examined, str(tmp_path / out), **kwargs)


def test_the_config_holds_what_was_said(tmp_path):
    folders = make_folders(tmp_path, values=(0, 255), ending='_m', suffixes=('.jpg', '.png'))
    prepared = written(tmp_path, folders, iters=7, batch_size=3, crop=32, seed=5)
    cfg = load_config(str(prepared.config))
    assert prepared.config == tmp_path / 'runs/street.py'
    assert cfg.work_dir == str(tmp_path / 'runs/street')
    assert (cfg.train_cfg.max_iters, cfg.train_dataloader.batch_size) == (7, 3)
    assert cfg.model.data_preprocessor['size'] == (32, 32)
    assert cfg.model.backbone.depth == 18
    assert cfg.randomness.seed == 5
    parts = {}
    for part in ('train', 'val'):
        data = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
        parts[part] = [item['img_path'] for item in data.load_data_list()]
        assert data.metainfo['classes'] == ('other', 'car')
        item = data[0]['data_samples'] if part == 'val' else None
        if item is not None:
            assert set(np.unique(item.gt_sem_seg.data)) == {0, 1}
    assert (len(parts['train']), len(parts['val'])) == (6, 2)
    assert not set(parts['train']) & set(parts['val'])
    assert build_model(cfg).decode_head.num_classes == 2


def test_names_with_quotes_and_of_any_script_are_kept(tmp_path):
    folders = make_folders(tmp_path / "it's an ü folder")
    classes = ("l'autre", 'Straße\\"{x}"')
    cfg = load_config(str(written(tmp_path, folders, classes).config))
    assert cfg.classes == classes
    assert DATASETS.build(cfg.train_dataloader.dataset).metainfo['classes'] == classes


def test_names_in_no_encoding_are_kept(tmp_path):
    folders = make_folders(tmp_path)
    for folder, suffix in zip(folders, ('.jpg', '.png'), strict=True):
        (folder / f'p0{suffix}').rename(os.fsdecode(os.fsencode(folder) + b'/caf\xe9') + suffix)
    cfg = load_config(str(written(tmp_path, folders).config))
    data = [DATASETS.build(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val')]
    paths = [item['img_path'] for part in data for item in part.load_data_list()]
    assert sorted(paths) == sorted(map(str, folders[0].iterdir()))


def test_a_run_that_is_there_is_not_replaced(tmp_path):
    folders = make_folders(tmp_path)
    before = written(tmp_path, folders).config.read_text()
    with pytest.raises(UserError, match='--resume goes on with it'):
        written(tmp_path, folders, iters=9)
    assert (tmp_path / 'runs/street.py').read_text() == before


def test_going_on_with_other_settings_is_refused(tmp_path):
    config = written(tmp_path, make_folders(tmp_path), iters=7, batch_size=3, crop=32).config
    check_same(config, iters=7, batch_size=3, crop=32)
    check_same(config, iters=None, batch_size=None, crop=None)
    for name, key in dict(iters='max_iters', batch_size='batch_size', crop='crop_size').items():
        with pytest.raises(UserError, match=f'{key} = .*, got --.* 64: change it in .*street.py'):
            check_same(config, **dict(iters=None, batch_size=None, crop=None) | {name: 64})


def test_a_start_replaces_the_weights_of_the_backbone(tmp_path):
    torch.save(dict(state_dict={'a': torch.zeros(1)}), tmp_path / 'best.pth')
    prepared = written(tmp_path, make_folders(tmp_path), model='small', start=tmp_path / 'best.pth')
    cfg = load_config(str(prepared.config))
    assert cfg.load_from == str(tmp_path / 'best.pth')
    assert cfg.model.backbone.init_cfg is None


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [
        (dict(model='smal'), "no 'smal', did you mean 'small'"),
        (dict(model='faseg_swin_t'), "did you mean 'faseg_swin-t'"),
        (dict(iters=0), '--iters must be at least 1, got 0'),
        (dict(batch_size=-1), '--batch must be at least 1, got -1'),
        (dict(crop=0), '--crop must be at least 1'),
        (dict(out='photos/p0.jpg/run'), '--out must be a folder'),
        (dict(start='/nowhere/run'), None),
        (dict(start='/nowhere/best.pth'), 'there is no checkpoint /nowhere/best.pth'),
        (dict(crop=32, batch_size=1), '--crop must be more than 32 with --batch 1'),
        (dict(options=['train_cfg.max_iter=3']), 'did you mean .*max_iters'),
    ],
)
def test_wrong_arguments_write_nothing(kwargs, text, tmp_path):
    folders = make_folders(tmp_path)
    if text is None:
        (tmp_path / 'empty').mkdir()
        kwargs, text = dict(start=tmp_path / 'empty'), 'has no checkpoint'
    with pytest.raises(UserError, match=text):
        written(tmp_path, folders, **kwargs)
    assert not list(tmp_path.glob('runs/*'))


def pairs(count, size):
    return [Looked(str(number), '', size=size) for number in range(count)]


def test_settings_follow_the_number_and_size_of_images():
    cpu, gpu = Machine(), Machine('a GPU', 24)
    small = choose(pairs(30, (360, 480)), cpu, model='tiny')
    assert (small.iters, small.crop, small.batch_size, small.short_side) == (600, 256, 2, None)
    assert choose(pairs(367, (360, 480)), cpu, model='tiny').iters == 1_500
    large = choose(pairs(30, (3000, 4000)), cpu, model='tiny')
    assert (large.crop, large.short_side, large.scales[0], large.scales[-1]) == (256, 384, 256, 512)
    on_gpu = choose(pairs(1000, (3000, 4000)), gpu, model='tiny')
    assert (on_gpu.crop, on_gpu.short_side, on_gpu.batch_size, on_gpu.iters) == (
        512,
        768,
        8,
        20_000,
    )
    assert choose(pairs(30, (40, 50)), cpu, model='tiny').crop == 64


@pytest.mark.subprocess
def test_it_trains_by_the_command_line_and_by_both_tools(tmp_path):
    """From 30 photos of mixed sizes and suffixes, with labels in black and white."""
    photos, masks = make_folders(tmp_path, values=(0, 255), count=30, suffixes=('.jpg', '.png'))
    for folder, suffix in ((photos, '.jpg'), (masks, '.png')):
        with Image.open(folder / f'p4{suffix}') as image:
            image.resize((90, 70), Image.Resampling.NEAREST).save(folder / f'p4{suffix}')
    command = [sys.executable, '-P', '-m', 'mmseg_faseg']
    environment = dict(PYTHONPATH=REPOSITORY)
    arguments = ['--labels', masks, '--classes', 'other', 'car', '--model', 'tiny', '--iters', 2]
    done = run(*command, 'train', photos, *arguments, '--crop', 32, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert 'faseg predict runs/photos' in done.stdout
    scalars = next((tmp_path / 'runs/photos').glob('*/vis_data/scalars.json')).read_text()
    assert any('mIoU' in json.loads(line) for line in scalars.splitlines())
    again = run(*command, 'train', photos, *arguments, cwd=tmp_path, **environment)
    assert (again.returncode, '--resume goes on' in again.stderr) == (2, True)
    config = tmp_path / 'runs/photos.py'
    config.write_text(config.read_text().replace('max_iters = 2', 'max_iters = 3'))
    resumed = run(*command, 'train', photos, '--resume', cwd=tmp_path, **environment)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / 'runs/photos/iter_3.pth').is_file()
    theirs = run(
        *(sys.executable, STOCK_TRAIN, config),
        *('--work-dir', tmp_path / 'theirs'),
        cwd=tmp_path,
        **environment,
    )
    assert theirs.returncode == 0, theirs.stderr
    assert (tmp_path / 'theirs/iter_3.pth').is_file()
