"""A checkpoint's own config is enough to test it, and is read without running it."""

import io

import pytest
import torch
from mmengine.config import Config

from mmseg_faseg.apis import UserError, load_config, load_stored_config
from tests.helpers.tools import call_tool


def test_the_tool_needs_no_config(trained, tmp_path, monkeypatch, capsys):
    call_tool('test.py', trained.checkpoint, monkeypatch=monkeypatch, cwd=tmp_path)
    # not the folder of the run that wrote it
    assert (tmp_path / 'work_dirs' / 'iter_2').is_dir()
    assert 'mIoU' in capsys.readouterr().out


@pytest.mark.parametrize('order', ['{config} {options} {checkpoint}', '{options} {checkpoint}'])
def test_options_stand_anywhere(trained, tmp_path, monkeypatch, order):
    arguments = order.format(
        config=trained.config, checkpoint=trained.checkpoint, options='--work-dir here'
    )
    call_tool('test.py', *arguments.split(), monkeypatch=monkeypatch, cwd=tmp_path)
    assert list((tmp_path / 'here').iterdir())


def test_it_is_the_config_of_the_training(trained):
    stored = load_stored_config(str(trained.checkpoint), {'randomness.seed': 7})
    given = load_config(str(trained.config))
    assert stored.randomness.seed == 7
    assert stored.model.decode_head == given.model.decode_head
    assert stored.test_dataloader == given.test_dataloader
    assert stored.test_pipeline == given.test_pipeline


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        (None, 'carries no config'),
        (dict(), 'carries no config'),
        (dict(cfg=3), 'carries no config'),
        (dict(cfg='import os'), 'more than literals.*line 1'),
        (dict(cfg="a = 1\nb = print('run')"), 'more than literals'),
        (dict(cfg='a = dict(**{})'), 'more than literals'),
        (dict(cfg='a = ('), 'more than literals'),
        (dict(cfg='a = ' + '[' * 5000), 'more than literals'),
        (dict(cfg="custom_imports = dict(imports=['antigravity'])"), 'imports antigravity'),
        (dict(cfg="custom_imports = dict(imports='antigravity')"), 'imports antigravity'),
        (dict(cfg="custom_imports = 'antigravity'"), 'more than literals'),
        (dict(cfg="custom_imports = dict(imports=['mmseg.nothing'])"), 'imports mmseg.nothing'),
        (dict(cfg="a = [dict(ann_file='http://host/evil.pkl')]"), 'names an address, ann_file'),
        (dict(cfg='a = {[]: 1}'), 'more than literals'),
        (dict(cfg='a = 1'), 'has no model'),
        (dict(cfg='model = dict()'), 'has no test_dataloader'),
    ],
)
def test_other_configs_are_refused(tmp_path, meta, message, capsys):
    torch.save(dict(state_dict={}, meta=meta), tmp_path / 'strange.pth')
    with pytest.raises(UserError, match=f'strange.pth.*{message}|{message}.*'):
        load_stored_config(str(tmp_path / 'strange.pth'))
    assert 'run' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'config',
    [
        "custom_hooks = [dict(type='os.mkdir', path='made')]",
        "test_evaluator = dict(type='os.mkdir', path='made')",
        "runner_type = 'os.mkdir'",
        "test_dataloader['dataset']['pipeline'][0] = dict(type='os.mkdir', path='made')",
    ],
)
def test_nothing_but_registered_types_is_built(trained, tmp_path, monkeypatch, config):
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    cfg = load_stored_config(str(trained.checkpoint)).to_dict()
    exec(config, cfg)
    cfg.pop('__builtins__')
    checkpoint['meta']['cfg'] = Config(cfg).pretty_text
    torch.save(checkpoint, tmp_path / 'hostile.pth')
    monkeypatch.setattr('sys.stderr', io.StringIO())
    with pytest.raises((KeyError, RuntimeError, UserError), match='mkdir'):
        call_tool('test.py', 'hostile.pth', monkeypatch=monkeypatch, cwd=tmp_path)
    assert not (tmp_path / 'made').exists()


def test_addresses_that_training_started_from_are_left_out(tmp_path):
    init_cfg = dict(type='Pretrained', checkpoint='https://host/backbone.pth')
    cfg = Config(dict(model=dict(backbone=dict(init_cfg=init_cfg)), test_dataloader=dict()))
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict={}), tmp_path / 'ours.pth')
    stored = load_stored_config(str(tmp_path / 'ours.pth'))
    assert stored.model.backbone.init_cfg.checkpoint is None


def test_an_address_is_refused():
    with pytest.raises(UserError, match='https://host/x.pth is an address'):
        load_stored_config('https://host/x.pth')
