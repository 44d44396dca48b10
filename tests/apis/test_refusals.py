"""What a run cannot do is refused before time is spent."""

from pathlib import Path

import pytest
import torch

from mmseg_faseg import apis
from mmseg_faseg.apis import demo


@pytest.fixture
def toy(tmp_path):
    """A config whose data is painted when it is first listed."""
    cfg = apis.load_config('mmseg_faseg::faseg_toy.py', {'data_root': str(tmp_path / 'data')})
    cfg.work_dir = str(tmp_path / 'work')
    yield cfg
    assert list(tmp_path.glob('data')) == list(tmp_path.glob('work')) == []


@pytest.mark.parametrize('resume', [False, True])
def test_missing_weights_to_start_from(toy, resume):
    toy.load_from = 'nosuch.pth'
    with pytest.raises(apis.UserError, match='there is no checkpoint nosuch.pth'):
        apis.train(toy, resume=resume)


@pytest.mark.parametrize('run', [apis.train, lambda cfg, **more: apis.test(cfg, 'any.pth', **more)])
def test_more_processes_than_gpus(toy, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(apis.UserError, match='2 processes .* but 1 GPUs'):
        run(toy, launcher='pytorch')


@pytest.mark.parametrize('run', [apis.train, lambda cfg, **more: apis.test(cfg, 'any.pth', **more)])
def test_a_launcher_that_did_not_start_this(toy, run, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(apis.UserError, match='--launcher pytorch is for .* torchrun'):
        run(toy, launcher='pytorch')


@pytest.mark.parametrize('run', [apis.train, lambda cfg: apis.test(cfg, 'any.pth')])
@pytest.mark.parametrize('below', ['', '/run'])
def test_the_work_dir_is_a_file(toy, run, below, tmp_path):
    file = tmp_path / 'notes.txt'
    file.touch()
    toy.work_dir = f'{file}{below}'
    with pytest.raises(apis.UserError, match='work_dir must be a folder, got .* is a file'):
        run(toy)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [('num_queries', 0, 'num_queries must be at least 1'), ('nonsense', 1, "argument 'nonsense'")],
)
def test_a_model_that_cannot_be_built(toy, key, value, message):
    toy.model.decode_head[key] = value
    with pytest.raises(apis.UserError, match=f'cannot be built: .*{message}'):
        apis.train(toy)


def test_a_setting_that_only_base_files_read():
    with pytest.raises(apis.UserError, match="the config has no 'backbone_settings'"):
        apis.load_config('mmseg_faseg::faseg_toy.py', {'backbone_settings.x': 1})


def test_out_is_a_file(toy, tmp_path):
    checkpoint = tmp_path / 'any.pth'
    torch.save(dict(state_dict={}), checkpoint)
    with pytest.raises(apis.UserError, match='--out takes a folder .* got the file .*any.pth'):
        apis.test(toy, str(checkpoint), out=str(checkpoint))


def test_demo_without_iterations(tmp_path):
    with pytest.raises(apis.UserError, match='--iters must be at least 1, got 0'):
        demo.run_demo('mmseg_faseg::faseg_toy.py', str(tmp_path / 'work'), iters=0)
    assert not Path(tmp_path, 'work').exists()


def test_demo_looks_for_its_test_data_before_it_trains(write_config, tmp_path, monkeypatch):
    missing = "test_dataloader['dataset']['data_root'] = '/nosuch'"
    split = f'from copy import deepcopy\ntest_dataloader = deepcopy(val_dataloader)\n{missing}'
    config = write_config(tmp_path / 'tiny.py', split)
    monkeypatch.setattr(demo, 'train', None)
    with pytest.raises(apis.UserError, match='/nosuch'):
        demo.run_demo(str(config), str(tmp_path / 'work'))


def test_a_checkpoint_of_another_kind_is_refused_before_data_are_read(toy, tmp_path):
    file = tmp_path / 'notes.md'
    file.write_text('# Notes')
    with pytest.raises(apis.UserError, match='notes.md is not loaded: it is no checkpoint'):
        apis.test(toy, str(file))
