"""Signals end training with a checkpoint; a work dir has one run at a time."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch

from tests.helpers.tools import REPOSITORY, call_tool

pytestmark = pytest.mark.subprocess

# Longer than any test waits; slow enough to be caught in the middle.
_ENDLESS = """
train_cfg['max_iters'] = param_scheduler[0]['end'] = {iterations}
train_cfg['val_interval'] = {val_interval}
default_hooks['checkpoint']['interval'] = {iterations}
val_dataloader['dataset'] = dict(
    type='RepeatDataset', times={times}, dataset=val_dataloader['dataset']
)
"""


@pytest.fixture
def start(write_config, tmp_path):
    """Starts training a config as a user would; ends what is left of it."""
    started = []

    def start(more: str, *arguments: str) -> subprocess.Popen:
        config = write_config(tmp_path / 'tiny.py', more)
        tool = REPOSITORY / 'tools' / 'train.py'
        process = subprocess.Popen(
            [sys.executable, '-u', tool, config, *arguments],
            cwd=tmp_path,
            env=os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=str(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Whoever runs tests in the background may have had it ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def _read_until(process: subprocess.Popen, pattern: str) -> None:
    for line in process.stdout:
        if re.search(pattern, line):
            return
    raise AssertionError(f'ended without {pattern}')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_the_run_goes_on(number, start, tmp_path, write_config, monkeypatch):
    workers = 'train_dataloader.update(num_workers=2, persistent_workers=True)\n'
    endless = _ENDLESS.format(iterations=100_000, val_interval=100_000, times=1)
    process = start(endless + workers)
    _read_until(process, r'Iter\(train\) \[ *3/')
    os.killpg(process.pid, number)  # its workers get the signal too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    name = number.name
    assert f'{name}: saving after this iteration; once more ends at once' in output
    (done,) = re.findall(rf'{name}: stopped after (\d+) iterations; saved .*iter_\1.pth', output)
    assert '--resume goes on from it' in output
    assert 'Traceback' not in output
    few = _ENDLESS.format(iterations=int(done) + 1, val_interval=100_000, times=1)
    config = write_config(tmp_path / 'tiny.py', few)
    call_tool('train.py', config, '--resume', cwd=tmp_path, monkeypatch=monkeypatch)
    assert (tmp_path / 'work_dirs' / 'tiny' / f'iter_{int(done) + 1}.pth').is_file()


def test_a_signal_during_validation(start, write_config, tmp_path, monkeypatch):
    ema = "custom_hooks = [dict(type='EMAHook', momentum=0.1)]\n"
    process = start(_ENDLESS.format(iterations=100, val_interval=2, times=1000) + ema)
    _read_until(process, r'Iter\(val\)')
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert 'Traceback' not in output
    stopped = torch.load(tmp_path / 'work_dirs' / 'tiny' / 'iter_2.pth', weights_only=True)
    more = _ENDLESS.format(iterations=100, val_interval=2, times=1) + ema
    more += "train_cfg['max_iters'] = default_hooks['checkpoint']['interval'] = 2\n"
    config = write_config(tmp_path / 'undisturbed.py', more)
    call_tool('train.py', config, cwd=tmp_path, monkeypatch=monkeypatch)
    path = tmp_path / 'work_dirs' / 'undisturbed' / 'iter_2.pth'
    undisturbed = torch.load(path, weights_only=True)
    # EMAHook saves averaged weights as the model's, and the model's own beside them.
    for weights in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(stopped[weights], undisturbed[weights], rtol=0, atol=0)
    weight = 'decode_head.query_feat.weight'
    own = stopped['ema_state_dict'][f'module.{weight}']
    assert not torch.equal(stopped['state_dict'][weight], own)


_SLOW_HOOK = """
import time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class SlowHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        print('waiting', flush=True)
        while True:
            time.sleep(1)
"""


def test_a_second_signal_ends_at_once(start, tmp_path):
    (tmp_path / 'slow_hook.py').write_text(_SLOW_HOOK)
    process = start(
        "custom_imports['imports'].append('slow_hook')\ncustom_hooks = [dict(type='SlowHook')]\n"
    )
    _read_until(process, 'waiting')
    process.terminate()
    _read_until(process, 'once more ends at once')
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM


def test_a_work_dir_has_one_run(start, write_config, tmp_path, monkeypatch):
    endless = _ENDLESS.format(iterations=100_000, val_interval=100_000, times=1)
    process = start(endless)
    _read_until(process, r'Iter\(train\) \[ *1/')
    second = start(endless)
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 2
    assert re.search(rf'another run writes to /.*/tiny: process {process.pid} on ', output)
    assert 'give another --work-dir' in output
    process.kill()
    process.wait()
    config = write_config(tmp_path / 'tiny.py')
    call_tool('train.py', config, cwd=tmp_path, monkeypatch=monkeypatch)  # free again
