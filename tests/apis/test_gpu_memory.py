"""Training that needs more memory than the GPU has is told which batch should fit."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper

from mmseg_faseg.apis import UserError, load_config, run
from mmseg_faseg.apis.gpu_memory import batch_that_fits, explained_out_of_memory

GIB = 2**30


@pytest.mark.parametrize(
    ('batch', 'needed', 'fixed', 'capacity', 'fits'),
    [
        (16, 33, 1, 24, 8),  # 2 an image: 11 fit, 8 divide 16
        (16, 33, 1, 17, 8),
        (16, 33, 1, 16, 4),
        (7, 15, 1, 14, 1),
        (16, 33, 1, 2, 0),
        (1, 33, 1, 24, 0),
        (4, 20, 4, 100, 2),  # it did fail, whatever the numbers say
    ],
)
def test_batch_that_fits(batch, needed, fixed, capacity, fits):
    assert batch_that_fits(batch, needed, fixed, capacity) == fits


@pytest.fixture
def runner(monkeypatch):
    """Of training that took 20 GiB of 24 before it asked for 4 more and one."""
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (4 * GIB, 25 * GIB))
    monkeypatch.setattr(torch.cuda, 'memory_reserved', lambda: 20 * GIB)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 20 * GIB)
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    model = torch.nn.Linear(2, 2)
    cfg = ConfigDict(train_dataloader=dict(batch_size=16), optim_wrapper=dict())
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1))
    return SimpleNamespace(model=model, cfg=cfg, optim_wrapper=optim_wrapper)


def run_out_of_memory(runner):
    with explained_out_of_memory(runner):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 5.00 GiB. GPU 0 has')


def test_training_without_enough_memory(runner):
    """24 GiB for 16 images that took 25: at most 15, so 8, twice."""
    with pytest.raises(UserError) as caught:
        run_out_of_memory(runner)
    message = str(caught.value)
    assert 'train_dataloader.batch_size=16' in message
    assert '25.0 GiB and more, and can give 24.0 GiB' in message
    assert 'train_dataloader.batch_size=8 optim_wrapper.accumulative_counts=2' in message
    assert '\n' not in message


def test_gradients_that_are_accumulated_already(runner):
    runner.cfg.optim_wrapper.accumulative_counts = 3
    with pytest.raises(UserError, match='batch_size=8 optim_wrapper.accumulative_counts=6'):
        run_out_of_memory(runner)


def test_not_even_one_image(runner):
    runner.cfg.train_dataloader.batch_size = 1
    with pytest.raises(UserError, match='a smaller batch would not help'):
        run_out_of_memory(runner)


def test_memory_of_validation_has_another_cause(runner):
    runner.model.eval()
    with pytest.raises(torch.OutOfMemoryError):
        run_out_of_memory(runner)


def test_each_process_speaks_for_itself(runner, monkeypatch, capsys):
    """The tools' first process speaks for all, and it may have had enough."""
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(UserError):
        run_out_of_memory(runner)
    assert 'train_dataloader.batch_size=16' in capsys.readouterr().err


def test_train_explains(runner, write_config, tmp_path, monkeypatch):
    """Through ``train`` itself."""
    cfg = load_config(str(write_config(tmp_path / 'tiny.py')))
    cfg.work_dir = str(tmp_path)

    def fail():
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 5.00 GiB.')

    runner.train = fail
    monkeypatch.setattr(run, '_build_runner', lambda cfg: runner)
    with pytest.raises(UserError, match='train_dataloader.batch_size=16'):
        run.train(cfg)
