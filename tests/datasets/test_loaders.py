"""Data loaders of the configs: set for a GPU, and quiet without one."""

import sys

import pytest

from mmseg_faseg.apis import load_config
from tests.helpers.tools import run

# One of every data set's.
CONFIGS = [
    'faseg_swin-t_ade20k',
    'faseg_swin-b_ade20k',
    'faseg_r50_cityscapes',
    'faseg_r18_camvid',
    'faseg_toy',
]


@pytest.mark.parametrize('name', CONFIGS)
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
