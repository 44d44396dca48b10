"""Processes that share a model train it as processes that each hold it whole."""

import json

import pytest
import torch

from mmseg_faseg.checkpoints.read import read_checkpoint
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
model['decode_head']['mask_pilot'] = dict()
"""
_SHARDED = _SGD + "runner_type = 'ShardedRunner'\n"


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
    result = train_by_two('', _SHARDED, '--resume', '--cfg-options', f'load_from={half}', name='on')
    assert result.returncode == 0, result.stderr
    check_equal(weights(tmp_path, 'on'), weights(tmp_path, 'sharded'), 0)

    checkpoint = tmp_path / 'work_dirs' / 'sharded' / 'iter_4.pth'
    arguments = ('on.py', checkpoint, '--work-dir', tmp_path / 'tested')
    result = run_tool('test.py', *arguments, cwd=tmp_path, PYTHONPATH=tmp_path)
    assert result.returncode == 0, result.stderr
    assert metrics_in(tmp_path / 'tested') == logged_metrics(tmp_path / 'work_dirs' / 'sharded')


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
