"""The hook that ends training after some minutes, with a checkpoint to go on from."""

import pytest

from mmseg_faseg.engine import TimeLimitHook
from tests.helpers.tools import call_tool


def test_training_stops_in_time_and_resumes(write_config, tmp_path, monkeypatch):
    hook = "custom_hooks = [dict(type='TimeLimitHook', minutes={})]"
    config = write_config(tmp_path / 'tiny.py', hook.format(1e-6))
    call_tool('train.py', config, cwd=tmp_path, monkeypatch=monkeypatch)
    work_dir = tmp_path / 'work_dirs' / 'tiny'
    assert sorted(file.name for file in work_dir.glob('*.pth')) == ['iter_1.pth']
    assert (work_dir / 'last_checkpoint').read_text().endswith('iter_1.pth')
    write_config(config, hook.format(60))
    call_tool('train.py', config, '--resume', cwd=tmp_path, monkeypatch=monkeypatch)
    logs = [file.read_text() for file in work_dir.glob('*/*.log')]
    assert any('resumed epoch: 0, iter: 1' in log for log in logs)
    assert (work_dir / 'iter_4.pth').is_file()


@pytest.mark.parametrize('minutes', [0, -1])
def test_minutes_of_the_hook(minutes):
    with pytest.raises(ValueError, match=f'minutes must be more than 0, got {minutes}'):
        TimeLimitHook(minutes)


def test_the_hook_needs_checkpoints_by_iteration(write_config, tmp_path, monkeypatch):
    more = (
        "custom_hooks = [dict(type='TimeLimitHook', minutes=1)]\n"
        "default_hooks['checkpoint'] = dict(type='CheckpointHook', by_epoch=True)"
    )
    config = write_config(tmp_path / 'tiny.py', more)
    with pytest.raises(ValueError, match='by_epoch=False'):
        call_tool('train.py', config, cwd=tmp_path, monkeypatch=monkeypatch)
