"""Two processes on one machine, talking through gloo; the scripts that start them."""

import json
import os
import random
import re
import signal
import stat
import time
from pathlib import Path

import pytest
import torch

from mmseg_faseg.checkpoints.latest import newest_whole_checkpoint
from mmseg_faseg.checkpoints.read import read_checkpoint
from tests.helpers.metrics import logged_metrics, metrics_in
from tests.helpers.tools import ended, run_tool, start, tool_command

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason='there is a GPU: processes would use NCCL, one GPU each'
)

# Imported by the config of the run: each process notes its weights and what it trained on.
_HOOK = """
import hashlib, json, os
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class NoteHook(Hook):
    images = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.images += [os.path.basename(sample.img_path) for sample in data_batch['data_samples']]

    def after_train(self, runner):
        digest = hashlib.sha256()
        for tensor in runner.model.module.parameters():
            digest.update(tensor.detach().numpy().tobytes())
        wrapper = type(runner.model).__name__
        note = dict(weights=digest.hexdigest(), images=self.images, wrapper=wrapper)
        Path(f'rank{runner.rank}.json').write_text(json.dumps(note))
"""


_SPOIL = """
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

@TRANSFORMS.register_module()
class SpoilImage(BaseTransform):
    def transform(self, results):
        results['img'] = results['img'].astype(np.float32)
        if results['img_path'].endswith('3.png'):
            results['img'][3, 4] = np.nan
        return results
"""


@pytest.mark.subprocess
@pytest.mark.parametrize('policy', ['skip', 'stop'])
def test_an_image_with_nan_in_one_process_concerns_both(train_by_two, tmp_path, policy):
    result = train_by_two(
        _HOOK + _SPOIL,
        f"custom_hooks = [dict(type='NoteHook'), dict(type='NonFiniteHook', policy='{policy}')]\n"
        "train_pipeline.insert(2, dict(type='SpoilImage'))\n"
        'train_dataloader.update(dataset=dict(**dataset, pipeline=train_pipeline), batch_size=1)',
    )
    said = r'iteration \d: \S+/images/3.png: 3 of 12288 values of the image are not finite; the'
    if policy == 'stop':
        assert result.returncode != 0
        (line,) = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
        assert re.search(said, line)
        assert 'Traceback' not in result.stderr.partition('error: ')[0]
        return
    assert result.returncode == 0, result.stderr
    notes = [json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in (0, 1)]
    assert notes[0]['weights'] == notes[1]['weights']
    concerned = [rank for rank in (0, 1) if '3.png' in notes[rank]['images']]
    assert len(concerned) == 1  # the other one had sound images only
    log = next(tmp_path.rglob('2*.log')).read_text()
    assert re.search(said, log)
    weights = torch.load(tmp_path / 'work_dirs/tiny/iter_4.pth')['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


_SPOILT_ITERATION = """
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class SpoiltIterationHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.rank, runner.iter) == (1, 0):
            data_batch['inputs'] = [image * torch.nan for image in data_batch['inputs']]
"""


@pytest.mark.subprocess
def test_accumulated_gradients_are_left_out_by_both_processes(train_by_two, tmp_path):
    """Gradients of the spoilt iteration wait in one process: nothing tells the other of them."""
    result = train_by_two(
        _HOOK + _SPOILT_ITERATION,
        "custom_hooks = [dict(type='NoteHook'), dict(type='SpoiltIterationHook'),\n"
        "    dict(type='NonFiniteHook', policy='skip')]\n"
        "optim_wrapper['accumulative_counts'] = 2",
    )
    assert result.returncode == 0, result.stderr
    notes = [json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in (0, 1)]
    assert notes[0]['weights'] == notes[1]['weights']
    saved = torch.load(tmp_path / 'work_dirs/tiny/iter_4.pth')
    steps = {int(state['step']) for state in saved['optimizer']['state'].values()}
    assert steps == {1}  # of two updates the second
    assert all(value.isfinite().all() for value in saved['state_dict'].values())


@pytest.mark.subprocess
def test_two_processes_end_with_equal_weights(train_by_two, tmp_path):
    result = train_by_two(_HOOK, "custom_hooks = [dict(type='NoteHook')]")
    assert result.returncode == 0, result.stderr
    notes = [json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in (0, 1)]
    assert notes[0]['wrapper'] == 'MMDistributedDataParallel'
    assert notes[0]['weights'] == notes[1]['weights']
    # They worked on different images, so it is not chance.
    assert notes[0]['images'] != notes[1]['images']
    assert (tmp_path / 'work_dirs' / 'tiny' / 'iter_4.pth').is_file()


_KILLED_HOOK = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KilledHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter == 3:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.subprocess
def test_a_killed_process_ends_all_and_one_process_goes_on(train_by_two, write_config, tmp_path):
    result = train_by_two(_KILLED_HOOK, "custom_hooks = [dict(type='KilledHook')]")
    assert result.returncode != 0
    assert re.search(r'rank +: 1 .*', result.stderr)
    assert 'Signal 9 (SIGKILL)' in result.stderr
    config = write_config(tmp_path / 'tiny.py', 'train_dataloader["batch_size"] = 4')
    result = run_tool('train.py', config, '--resume', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'written by 2 processes with 4 images per iteration, now there are 1 with 4' in (
        result.stdout + result.stderr
    )
    assert (tmp_path / 'work_dirs' / 'tiny' / 'iter_4.pth').is_file()


_LONG = """
train_cfg.update(max_iters={iterations}, val_interval=5)
param_scheduler[0]['end'] = 1000
default_hooks['checkpoint'].update(interval=2, max_keep_ckpts=1)
"""


def _children(process):
    """Processes that it started, the first one first."""
    stats = (path.read_text() for path in Path('/proc').glob('[0-9]*/stat') if path.exists())
    parents = [(int(stat.split()[0]), int(stat.rpartition(')')[2].split()[1])) for stat in stats]
    return sorted(child for child, parent in parents if parent == process.pid)


@pytest.mark.subprocess
@pytest.mark.skipif(
    not Path('/proc/self/stat').exists(), reason='finds processes as Linux has them'
)
@pytest.mark.parametrize('seed', range(int(os.environ.get('KILLS', 1))))
def test_a_process_killed_at_any_moment(seed, write_config, tmp_path, port):
    """``KILLS=10`` makes it ten moments."""
    luck = random.Random(seed)
    config = write_config(tmp_path / 'tiny.py', _LONG.format(iterations=1000))
    launcher = start(*tool_command('dist_train.sh'), config, 2, cwd=tmp_path, PORT=port)
    while len(_children(launcher)) < 2:
        time.sleep(0.1)
    time.sleep(luck.uniform(0, 25))
    rank = luck.randrange(2)
    os.kill(_children(launcher)[rank], signal.SIGKILL)
    result = ended(launcher, 60)
    assert result.returncode != 0
    assert re.search(rf'rank +: {rank} ', result.stderr)
    assert 'Signal 9 (SIGKILL)' in result.stderr
    last, _ = newest_whole_checkpoint(tmp_path / 'work_dirs' / 'tiny')
    done = read_checkpoint(last)['meta']['iter'] if last else 0
    for processes, iterations in ((1, done + 2), (2, done + 4)):
        config = write_config(tmp_path / 'tiny.py', _LONG.format(iterations=iterations))
        result = run_tool('dist_train.sh', config, processes, '--resume', cwd=tmp_path, PORT=port)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / 'work_dirs' / 'tiny' / f'iter_{iterations}.pth').is_file()


@pytest.mark.subprocess
def test_two_processes_give_the_metrics_of_one(trained, tmp_path, port):
    """Five images: the second process gets one of them again, which must not count twice."""
    result = run_tool(
        'dist_test.sh', trained.config, trained.checkpoint, 2, '--work-dir', tmp_path / 'two',
        cwd=tmp_path, PORT=port,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert re.search(r'Iter\(test\) \[3/3\]', result.stdout)
    assert metrics_in(tmp_path / 'two') == logged_metrics(trained.work_dir)


_EPOCHS = """
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
train_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=True)
param_scheduler = [dict(type='PolyLR', end=4, by_epoch=False)]
custom_hooks = [dict(type='NoteHook')]
"""


@pytest.fixture
def noting(write_config, tmp_path):
    """A config of two epochs, whose processes note their weights and images."""
    (tmp_path / 'own_hooks.py').write_text(_HOOK)
    return write_config(tmp_path / 'tiny.py', _EPOCHS, imports=('mmseg_faseg', 'own_hooks'))


def _check_notes(folder):
    """Five images, two processes: each has a batch of two and one of one in an epoch."""
    notes = [json.loads((folder / f'rank{rank}.json').read_text()) for rank in (0, 1)]
    assert notes[0]['weights'] == notes[1]['weights']
    for epoch in (slice(0, 3), slice(3, 6)):
        seen = {image for note in notes for image in note['images'][epoch]}
        assert seen == {f'{number}.png' for number in range(5)}
    assert (folder / 'work_dirs' / 'tiny' / 'iter_4.pth').is_file()


@pytest.mark.subprocess
def test_two_machines(noting, tmp_path, port):
    """Two launchers that meet at an address, as on two machines."""
    machines = [
        start(
            *tool_command('dist_train.sh'), noting, 1, cwd=tmp_path, PYTHONPATH=tmp_path,
            NNODES=2, NODE_RANK=number, MASTER_ADDR='127.0.0.1', PORT=port,
        )
        for number in (0, 1)
    ]  # fmt: skip
    for machine in machines:
        assert ended(machine).returncode == 0
    _check_notes(tmp_path)


# Starts as many processes as srun would, and says to each what srun says.
_SRUN = """#!/usr/bin/env python3
import os, subprocess, sys
options = dict(word[2:].partition('=')[::2] for word in sys.argv[1:] if word.startswith('--'))
command = sys.argv[1:]
while command[0].startswith('--'):
    command.pop(0)
tasks = options['ntasks']
processes = [
    subprocess.Popen(command, env=os.environ | dict(
        SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), SLURM_NTASKS=tasks,
        SLURM_NTASKS_PER_NODE=options['ntasks-per-node'], SLURM_NODELIST='node[1-2]',
    ))
    for rank in range(int(tasks))
]
sys.exit(max(abs(process.wait()) for process in processes))
"""


@pytest.fixture
def slurm(tmp_path):
    """A folder with stand-ins of SLURM's commands."""
    folder = tmp_path / 'slurm'
    folder.mkdir()
    for name, text in dict(srun=_SRUN, scontrol='#!/bin/sh\necho 127.0.0.1\n').items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.subprocess
def test_two_processes_of_slurm(noting, slurm, tmp_path, port):
    result = run_tool(
        'slurm_train.sh', 'part', 'job', noting, cwd=tmp_path, GPUS=2, GPUS_PER_NODE=2,
        PATH=f'{slurm}:{os.environ["PATH"]}', PYTHONPATH=tmp_path, MASTER_PORT=port,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    _check_notes(tmp_path)


@pytest.mark.subprocess
def test_of_two_processes_of_slurm_one_speaks(slurm, tmp_path):
    result = run_tool(
        'slurm_train.sh', 'part', 'job', 'none.py', cwd=tmp_path, GPUS=2, GPUS_PER_NODE=2,
        PATH=f'{slurm}:{os.environ["PATH"]}',
    )  # fmt: skip
    assert result.returncode == 2
    assert len(re.findall('^error: .*none.py', result.stderr, re.MULTILINE)) == 1


@pytest.fixture
def echo(tmp_path):
    """A stand-in for Python and srun that prints its arguments, one per line."""
    script = tmp_path / 'srun'
    script.write_text('#!/bin/sh\nfor argument; do echo "$argument"; done\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


@pytest.mark.parametrize(
    ('script', 'arguments', 'tool', 'given'),
    [
        ('dist_train.sh', ['a b.py', 8], 'train.py', ['a b.py']),
        ('dist_test.sh', ['a b.py', 'c.pth', 8], 'test.py', ['a b.py', 'c.pth']),
    ],
)
def test_several_machines_by_environment(tmp_path, echo, script, arguments, tool, given):
    result = run_tool(
        script, *arguments, '--amp', cwd=tmp_path,
        PYTHON=echo, NNODES=4, NODE_RANK=3, MASTER_ADDR='10.0.0.1', PORT=1234,
    )  # fmt: skip
    words = result.stdout.splitlines()
    assert words[:7] == [
        '-m',
        'torch.distributed.run',
        '--nnodes=4',
        '--node-rank=3',
        '--master-addr=10.0.0.1',
        '--master-port=1234',
        '--nproc-per-node=8',
    ]
    assert words[7].endswith(f'tools/{tool}')
    assert words[8:] == [*given, '--launcher', 'pytorch', '--amp']


@pytest.mark.parametrize(
    ('script', 'arguments', 'tool', 'given'),
    [
        ('slurm_train.sh', ['part', 'job', 'a.py'], 'train.py', ['a.py']),
        ('slurm_test.sh', ['part', 'job', 'a.py', 'c.pth'], 'test.py', ['a.py', 'c.pth']),
    ],
)
def test_slurm_usage_of_mmseg(tmp_path, echo, script, arguments, tool, given):
    result = run_tool(
        script, *arguments, '--resume', cwd=tmp_path,
        PATH=f'{tmp_path}:/usr/bin:/bin', GPUS=16, GPUS_PER_NODE=8, CPUS_PER_TASK=2,
        SRUN_ARGS='--quotatype=spot --mem=8G',
    )  # fmt: skip
    words = result.stdout.splitlines()
    assert {'--partition=part', '--job-name=job', '--quotatype=spot', '--mem=8G'} <= set(words)
    assert {'--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8'} <= set(words)
    assert '--cpus-per-task=2' in words
    position = next(i for i, word in enumerate(words) if word.endswith(f'tools/{tool}'))
    assert words[position + 1 :] == [*given, '--launcher', 'slurm', '--resume']


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']
)
def test_too_few_arguments_print_usage(tmp_path, script):
    result = run_tool(script, 'config.py', cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('usage: ')


def test_more_processes_than_gpus_is_one_line(monkeypatch):
    from mmengine.config import Config

    from mmseg_faseg.apis import UserError, devices

    monkeypatch.setattr(devices, 'get_device', lambda: 'cuda')
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    with pytest.raises(UserError, match='2 processes .* but 1 GPU'):
        devices.prepare_devices(Config(dict(launcher='pytorch', model=dict())))
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '1')
    devices.prepare_devices(Config(dict(launcher='pytorch', model=dict())))
