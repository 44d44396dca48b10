"""What queries look at is logged during training, which it leaves as it is."""

import json

import pytest
import torch
from matplotlib.image import imread
from mmengine.runner import Runner

from mmseg_faseg.apis import load_config
from mmseg_faseg.explain import FocusLogHook

HOOK = """
custom_hooks = [dict(type='FocusLogHook', interval=2, image=1)]
"""


def runner_of(write_config, folder, more='', head=None):
    folder.mkdir(exist_ok=True)
    cfg = load_config(str(write_config(folder / 'tiny.py', more)))
    cfg.visualizer.name = folder.name  # MMEngine keeps one of a name per process
    cfg.work_dir = str(folder / 'run')
    if head is not None:
        cfg.model.type, cfg.model.decode_head = 'EncoderDecoder', head
    return Runner.from_cfg(cfg)


def test_numbers_and_pictures_reach_the_local_back_end(write_config, tmp_path):
    with_hook = runner_of(write_config, tmp_path / 'with_hook', HOOK)
    with_hook.train()
    data = next((tmp_path / 'with_hook' / 'run').glob('*/vis_data'))
    lines = [json.loads(line) for line in (data / 'scalars.json').read_text().splitlines()]
    logged = {line['step']: line for line in lines if 'focus/entropy' in line}
    assert sorted(logged) == [2, 4]
    for line in logged.values():
        for layer in range(1, 5):
            assert 0 < line[f'focus/entropy/layer_{layer}'] <= 1
        of_whole_maps = [line[f'focus/entropy/layer_{layer}'] for layer in (1, 2, 3)]
        assert line['focus/entropy'] == pytest.approx(sum(of_whole_maps) / 3)
    for step in (2, 4):
        assert imread(data / 'vis_image' / f'focus.png_{step}.png').std() > 0.05
    without = runner_of(write_config, tmp_path / 'without')
    without.train()
    expected = without.model.state_dict()
    for name, value in with_hook.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert with_hook.model.training == without.model.training


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(interval=0), 'FocusLogHook.interval must be at least 1, got 0'),
        (dict(image=-1), 'FocusLogHook.image must be at least 0, got -1'),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FocusLogHook(**arguments)


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (HOOK.replace('image=1', 'image=5'), 'image is 5, but the validation set has 5 images'),
        (HOOK + 'val_dataloader = val_cfg = val_evaluator = None', 'there is no val_loop'),
    ],
)
def test_runs_without_that_image_are_refused(more, message, write_config, tmp_path):
    with pytest.raises(ValueError, match=message):
        runner_of(write_config, tmp_path, more).train()


def test_other_models_are_refused(write_config, tmp_path):
    head = dict(type='FCNHead', in_channels=32, in_index=3, channels=8, num_classes=3)
    runner = runner_of(write_config, tmp_path, HOOK, head)
    with pytest.raises(ValueError, match='FocusLogHook: only FASegHead.* got FCNHead'):
        runner.train()
