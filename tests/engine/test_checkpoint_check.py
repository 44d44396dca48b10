"""A checkpoint that was trained on other classes says so before it is used."""

import pytest
import torch

from mmseg_faseg import apis
from mmseg_faseg.engine.checks import report


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
