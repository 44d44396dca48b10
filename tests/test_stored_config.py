"""A checkpoint's own config is enough to test it, and is read without running it."""

import pytest
import torch
from conftest import call_tool

from mmseg_faseg.apis import UserError, load_config, load_stored_config


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
    ],
)
def test_other_configs_are_refused(tmp_path, meta, message, capsys):
    torch.save(dict(state_dict={}, meta=meta), tmp_path / 'strange.pth')
    with pytest.raises(UserError, match=f'strange.pth.*{message}|{message}.*'):
        load_stored_config(str(tmp_path / 'strange.pth'))
    assert 'run' not in capsys.readouterr().out
