"""A checkpoint that was trained on other classes says so before it is used."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from mmseg.apis import MMSegInferencer, init_model
from torch import nn

from mmseg_faseg import apis
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.engine.checkpoint_check import (
    CheckpointCheckHook,
    CheckpointMismatchError,
    load_weights,
)
from mmseg_faseg.engine.checkpoint_entries import check_entries
from mmseg_faseg.engine.checks import report
from mmseg_faseg.errors import UserError


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(report, 'print_log', lambda text, *_: lines.append(text))
    return lines


@pytest.mark.parametrize(
    ('classes', 'said'),
    [
        (('bright', 'grey', 'dark'), "class 0 is 'dark' in the data, but was 'bright' for "),
        (('dark', 'grey', 'bright'), None),
        ('not a list', None),
    ],
)
def test_class_names_of_the_checkpoint(trained, tmp_path, warnings, classes, said):
    checkpoint = torch.load(trained.checkpoint)
    checkpoint['meta']['dataset_meta']['classes'] = classes
    file = tmp_path / 'other.pth'
    torch.save(checkpoint, file)
    cfg = apis.load_config(str(trained.config))
    cfg.custom_hooks = [dict(type='CheckpointCheckHook')]
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = f'classes{said}'
    apis.test(cfg, str(file))
    lines = [line for line in warnings if '[class_names_of_checkpoint]' in line]
    assert len(lines) == (said is not None)
    assert said is None or said + str(file) in lines[0]


@pytest.fixture
def diverged(trained, tmp_path) -> Path:
    """The trained model's checkpoint with one weight that is not finite."""
    checkpoint = torch.load(trained.checkpoint)
    checkpoint['state_dict']['decode_head.query_feat.weight'][1, 2] = torch.nan
    torch.save(checkpoint, tmp_path / 'diverged.pth')
    return tmp_path / 'diverged.pth'


FIRST = r'1 of \d+ tensors, first decode_head.query_feat.weight \(1 of 160 values\)'


@pytest.mark.parametrize('run', ['test', 'resume', 'fine-tune'])
def test_weights_that_are_not_finite_are_refused(trained, diverged, tmp_path, run):
    cfg = apis.load_config(str(trained.config))
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = f'diverged {run}'
    with pytest.raises(CheckpointMismatchError, match=f'diverged.pth holds weights.*{FIRST}'):
        if run == 'test':
            apis.test(cfg, str(diverged))
        else:
            cfg.load_from = str(diverged)
            apis.train(cfg, resume=run == 'resume')


def test_inference_refuses_weights_that_are_not_finite(trained, diverged):
    """They would make every pixel class 0, in silence."""
    with pytest.raises(UserError, match=FIRST):
        init_model(str(trained.config), str(diverged), device='cpu')
    with pytest.raises(UserError, match=FIRST):
        MMSegInferencer(str(trained.config), str(diverged), device='cpu')
    init_model(str(trained.config), str(trained.checkpoint), device='cpu')


@pytest.mark.parametrize(
    ('name', 'classes'), [('cls_embed', 'for 2 .* has 6'), ('conv_seg', 'for 3 .* has 7')]
)
@pytest.mark.parametrize('resume', [False, True])
def test_fine_tuning_may_change_the_classes(name, classes, resume):
    """Of our heads and of MMSegmentation's others, such as ``FCNHead`` as an auxiliary head."""

    def model(classes: int) -> nn.Module:
        return nn.ModuleDict({'decode_head': nn.ModuleDict({name: nn.Conv2d(4, classes, 1)})})

    loop = Mock(spec=IterBasedTrainLoop, dataloader=Mock())
    runner = SimpleNamespace(
        cfg={}, model=model(7), logger=Mock(), _load_from='a.pth', _resume=resume,
        _train_loop=loop, _val_loop=None, _test_loop=None,
    )  # fmt: skip
    checkpoint = dict(state_dict=model(3).state_dict())
    if resume:
        with pytest.raises(CheckpointMismatchError, match=f'^a.pth was made {classes}: take the'):
            CheckpointCheckHook().after_load_checkpoint(runner, checkpoint)
        return
    CheckpointCheckHook().after_load_checkpoint(runner, checkpoint)
    assert f'{name}.bias' in runner.logger.info.call_args.args[0]


@pytest.mark.parametrize('how', ['test', 'load_weights'])
def test_a_checkpoint_for_other_classes(trained, tmp_path, how):
    cfg = apis.load_config(str(trained.config), {'model.decode_head.num_classes': 5})
    cfg.custom_hooks = [dict(type='CheckpointCheckHook')]
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = 'other classes'
    config = {'test': str(trained.config)}.get(how, 'the config')
    with pytest.raises(CheckpointMismatchError) as error:
        if how == 'test':
            apis.test(cfg, str(trained.checkpoint))
        else:
            load_weights(build_model(cfg), read_checkpoint(trained.checkpoint), 'a.pth')
    assert f'.pth was made for 3 classes, {config} has 5: take the config' in str(error.value)


def test_another_model_with_other_classes_is_another_model(trained):
    cfg = apis.load_config(
        str(trained.config), {'model.decode_head.num_classes': 5, 'model.backbone.base_channels': 8}
    )
    cfg.model.decode_head.in_channels = [8, 16, 32, 64]
    with pytest.raises(CheckpointMismatchError, match='a.pth is of another model: .*another shape'):
        load_weights(build_model(cfg), read_checkpoint(trained.checkpoint), 'a.pth')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(meta=None), 'no meta'),
        (dict(meta=[1]), 'a list as meta'),
        (dict(message_hub=None), 'no message_hub'),
        (dict(message_hub=dict(log_scalars=3)), 'a int as message_hub.log_scalars'),
        (
            dict(message_hub=dict(log_scalars=dict(a=1), runtime_info={}, resumed_keys={})),
            'a int as message_hub.log_scalars.a',
        ),
        (dict(optimizer=None), 'no optimizer'),
        (dict(optimizer=dict(a=1)), 'no optimizer.param_groups'),
        (dict(optimizer=dict(state={}, param_groups=[1])), 'a list as optimizer.param_groups'),
        (dict(param_schedulers=[3]), 'a list as param_schedulers'),
    ],
)
def test_entries_to_go_on_with_are_looked_at(trained, change, message):
    checkpoint = torch.load(trained.checkpoint) | change
    with pytest.raises(UserError, match=f'x.pth cannot be gone on from: it has {message}$'):
        check_entries(checkpoint, 'x.pth')


def test_a_sound_checkpoint_can_be_gone_on_from(trained):
    check_entries(torch.load(trained.checkpoint), 'x.pth')
