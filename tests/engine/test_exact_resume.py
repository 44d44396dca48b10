"""A run that was interrupted and gone on with equals one that was not, bit by bit."""

from pathlib import Path

import pytest
import torch

from tests.helpers.tools import call_tool

_INTERRUPT = """
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class InterruptHook(Hook):
    priority = 'HIGHEST'

    def __init__(self, at, where='train'):
        self.at, self.where = at, where

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at and self.where == 'train':
            raise RuntimeError('interrupted')

    def before_val_epoch(self, runner):
        if runner.iter == self.at and self.where == 'val':
            raise RuntimeError('interrupted')
"""
_LONGER = """
train_cfg['max_iters'] = param_scheduler[0]['end'] = 8
train_cfg['val_interval'] = 4
default_hooks['checkpoint'] = dict(
    type='CheckpointHook', by_epoch=False, interval=2, save_best='mIoU', max_keep_ckpts=1
)
train_pipeline.insert(2, dict(type='PhotoMetricDistortion'))
"""


@pytest.fixture
def trained_to_the_end(write_config, tmp_path, monkeypatch):
    """Trains a config, and gives the folder of the run."""

    def train(name: str, more: str, *arguments: str) -> Path:
        (tmp_path / 'interrupt_hook.py').write_text(_INTERRUPT)
        monkeypatch.syspath_prepend(tmp_path)
        config = write_config(
            tmp_path / f'{name}.py', _LONGER + more, imports=('mmseg_faseg', 'interrupt_hook')
        )
        call_tool('train.py', config, *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
        return tmp_path / 'work_dirs' / name

    return train


def _assert_equal(work_dir: Path, other: Path) -> None:
    ours, theirs = (
        torch.load(folder / 'iter_8.pth', weights_only=True) for folder in (work_dir, other)
    )
    for key in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(ours.get(key), theirs.get(key), rtol=0, atol=0)
    hubs = ours['message_hub'], theirs['message_hub']
    losses = [hub['log_scalars']['train/loss'].data[0].tolist() for hub in hubs]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 8
    scores = [hub['runtime_info']['best_score'] for hub in hubs]
    assert scores[0] == scores[1]
    assert ours['param_schedulers'] == theirs['param_schedulers']


_EMA = "custom_hooks = [dict(type='EMAHook', momentum=0.1)]\n"
_ONE_CYCLE = """
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=8, by_epoch=False)]
"""
_EPOCHS = """
train_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=True)
"""
_WORKERS = 'train_dataloader.update(num_workers=2, persistent_workers=True)\n'


@pytest.mark.parametrize(
    ('more', 'then', 'at'),
    [
        ('', '', 5),
        ('', _WORKERS, 7),
        (_EMA, '', 3),
        (_ONE_CYCLE, '', 5),
        (_EPOCHS, '', 7),
    ],
    ids=['plain', 'other workers', 'ema', 'one cycle', 'a sampler that ends'],
)
def test_a_resumed_run_equals_an_uninterrupted_one(more, then, at, trained_to_the_end):
    whole = trained_to_the_end('whole', more)
    hooks = (_EMA if more == _EMA else 'custom_hooks = []\n') + (
        f"custom_hooks.append(dict(type='InterruptHook', at={at}))\n"
    )
    with pytest.raises(RuntimeError, match='interrupted'):
        trained_to_the_end('cut', more + hooks)
    cut = trained_to_the_end('cut', more + then, '--resume')
    _assert_equal(cut, whole)


def test_a_validation_that_was_cut_off_is_made(trained_to_the_end):
    whole = trained_to_the_end('whole', '')
    hook = "custom_hooks = [dict(type='InterruptHook', at=4, where='val')]\n"
    with pytest.raises(RuntimeError, match='interrupted'):
        trained_to_the_end('cut', hook)
    cut = trained_to_the_end('cut', '', '--resume')
    _assert_equal(cut, whole)
    best = [sorted(path.name for path in folder.glob('best*')) for folder in (cut, whole)]
    assert best[0] == best[1] != []


def test_samples_do_not_depend_on_workers(trained_to_the_end):
    one = trained_to_the_end('one', '')
    two = trained_to_the_end('two', _WORKERS)
    _assert_equal(one, two)
