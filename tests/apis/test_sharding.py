"""Processes that share a model train it as processes that each hold it whole."""

import json

import pytest
import torch

from mmseg_faseg.apis import load_config
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.engine.sharded_runner import blocks_of
from tests.helpers.metrics import logged_metrics, metrics_in
from tests.helpers.tools import run_tool

pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.skipif(torch.cuda.is_available(), reason='processes would use one GPU each'),
]

_NOTE = """
import json
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class ShareHook(Hook):
    def before_val_iter(self, runner, batch_idx, data_batch=None):
        # Processes predict different images, and none waits for another.
        assert not any(hasattr(p, 'to_local') for p in runner.model.parameters())

    def after_train(self, runner):
        shares = [(p.to_local().numel(), p.numel()) for p in runner.model.parameters()]
        Path(f'rank{runner.rank}.json').write_text(json.dumps(shares))
"""
# Clipping has to see the gradients of all processes.
_SGD = """
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
    clip_grad=dict(max_norm=0.1),
)
model['decode_head'].update(mask_pilot=dict(), in_channels=[16, 32, 64, 128])
model['backbone'] = dict(
    type='SwinTransformer', embed_dims=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 4),
    window_size=4, drop_path_rate=0.0,
)
"""
_SHARDED = f"""{_SGD}
model['backbone']['with_cp'] = True
runner_type = 'ShardedRunner'
"""


def weights(tmp_path, name, iteration=4):
    return read_checkpoint(tmp_path / 'work_dirs' / name / f'iter_{iteration}.pth')


def check_equal(got, expected, tolerance):
    torch.testing.assert_close(
        got['state_dict'], expected['state_dict'], rtol=tolerance, atol=tolerance
    )
    states, expected_states = (own['optimizer']['state'] for own in (got, expected))
    torch.testing.assert_close(states, expected_states, rtol=tolerance, atol=tolerance)
    assert got['optimizer']['param_groups'] == expected['optimizer']['param_groups']


def test_sharded_training(train_by_two, tmp_path):
    for name, more in (('whole', _SGD), ('sharded', _SHARDED)):
        hooks = "custom_hooks = [dict(type='ShareHook')]\n" * (name == 'sharded')
        result = train_by_two(_NOTE, more + hooks, name=name)
        assert result.returncode == 0, result.stderr
    for rank in (0, 1):
        shares = json.loads((tmp_path / f'rank{rank}.json').read_text())
        own, whole = map(sum, zip(*shares, strict=True))
        assert 0.4 < own / whole < 0.6
    check_equal(weights(tmp_path, 'sharded'), weights(tmp_path, 'whole'), 1e-5)

    half = tmp_path / 'work_dirs' / 'sharded' / 'iter_2.pth'
    for name, more, tolerance in (('on', _SHARDED, 0), ('unsharded', _SGD, 1e-5)):
        options = ('--resume', '--cfg-options', f'load_from={half}')
        result = train_by_two('', more, *options, name=name)
        assert result.returncode == 0, result.stderr
        check_equal(weights(tmp_path, name), weights(tmp_path, 'sharded'), tolerance)

    checkpoint = tmp_path / 'work_dirs' / 'sharded' / 'iter_4.pth'
    arguments = ('on.py', checkpoint, '--work-dir', tmp_path / 'tested')
    result = run_tool('test.py', *arguments, cwd=tmp_path, PYTHONPATH=tmp_path)
    assert result.returncode == 0, result.stderr
    assert metrics_in(tmp_path / 'tested') == logged_metrics(tmp_path / 'work_dirs' / 'sharded')


_TROUBLE = """
import os, signal, torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class TroubleHook(Hook):
    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2 and not runner._resume:
            os.kill(os.getpid(), signal.SIGTERM)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3 and runner.rank == 1:
            data_batch['inputs'] = [image * torch.nan for image in data_batch['inputs']]
"""


def test_a_signal_in_validation_and_weights_for_a_replay(train_by_two, write_config, tmp_path):
    config = f"{_SHARDED}custom_hooks = [dict(type='TroubleHook')]\n"
    config += "train_cfg['val_interval'] = 2\ndefault_hooks['checkpoint']['interval'] = 5\n"
    result = train_by_two(_TROUBLE, config)
    assert 'SIGTERM: stopped after 2 iterations' in result.stdout
    model = build_model(load_config(str(write_config(tmp_path / 'sharded.py', _SHARDED))))
    model.load_state_dict(weights(tmp_path, 'tiny', 2)['state_dict'])
    result = train_by_two(_TROUBLE, config, '--resume')
    assert 'iteration 4: ' in result.stderr
    for rank in (0, 1):
        file = tmp_path / 'work_dirs' / 'tiny' / f'nonfinite_iter_4_rank_{rank}.pth'
        model.load_state_dict(read_checkpoint(file)['weights'])


@pytest.mark.parametrize(
    ('config', 'kind', 'count'),
    [
        ('faseg_swin-t_ade20k.py', 'SwinBlock', 12),
        ('faseg_r50_ade20k.py', 'Bottleneck', 16),
        ('faseg_r18_camvid.py', 'BasicBlock', 8),
    ],
)
def test_what_is_gathered_at_a_time(config, kind, count):
    blocks = blocks_of(build_model(load_config(f'mmseg_faseg::{config}')).backbone)
    assert [type(block).__name__ for block in blocks] == [kind] * count


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ("custom_hooks = [dict(type='EMAHook')]", 'EMAHook keeps copies'),
        ('', 'got one: start tools/dist_train.sh'),
    ],
)
def test_refusals(write_config, train_by_two, tmp_path, more, message):
    if more:
        result = train_by_two('', _SHARDED + more)
    else:
        config = write_config(tmp_path / 'tiny.py', _SHARDED)
        result = run_tool('train.py', config, cwd=tmp_path)
    assert result.returncode
    assert len([line for line in result.stderr.splitlines() if line.startswith('error: ')]) == 1
    assert message in result.stderr
