"""A work dir stands for its checkpoint wherever one is asked for."""

import os
import shutil

import pytest
import torch

from mmseg_faseg import apis
from mmseg_faseg.apis import demo, run
from mmseg_faseg.apis.checkpoint import find_checkpoint
from tests.helpers.tools import call_tool


@pytest.fixture
def work_dir(trained, tmp_path):
    """That of the tiny model, with a best checkpoint that is older than the newest."""
    folder = tmp_path / 'runs' / 'tiny'
    folder.mkdir(parents=True)
    best = folder / 'best_mIoU_iter_1.pth'
    shutil.copy(trained.checkpoint, best)
    os.utime(best, (1, 1))
    shutil.copy(trained.checkpoint, folder)
    return folder


def test_the_best_else_the_newest(work_dir):
    best = work_dir / 'best_mIoU_iter_1.pth'
    assert find_checkpoint(work_dir) == str(best)
    best.unlink()
    assert find_checkpoint(str(work_dir)) == str(work_dir / 'iter_2.pth')


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(apis.UserError, match='has no checkpoint: give a .pth file or the work dir'):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize('name', ['a.pth', 'https://example.org/a.pth', 'a' * 1000])
def test_what_is_no_folder_is_meant_itself(name):
    assert find_checkpoint(name) == name


def test_to_test(trained, work_dir, tmp_path):
    cfg = apis.load_config(str(trained.config))
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = 'of a work dir'
    assert 'mIoU' in apis.test(cfg, str(work_dir))
    assert cfg.load_from == str(work_dir / 'best_mIoU_iter_1.pth')


def test_to_test_with_the_config_that_it_carries(work_dir, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(apis, 'test', lambda cfg, checkpoint, **_: seen.append((cfg, checkpoint)))
    call_tool('test.py', work_dir, cwd=tmp_path, monkeypatch=monkeypatch)
    ((cfg, checkpoint),) = seen
    assert cfg.model.type == 'FASegSegmentor'
    assert checkpoint == str(work_dir)


def test_to_publish(work_dir, tmp_path, monkeypatch):
    call_tool('publish_model.py', work_dir, 'a.pth', cwd=tmp_path, monkeypatch=monkeypatch)
    (published,) = tmp_path.glob('a-*.pth')
    best = torch.load(work_dir / 'best_mIoU_iter_1.pth')['state_dict']
    assert torch.load(published)['state_dict'].keys() == best.keys()


def test_to_draw_the_demo(work_dir, tmp_path, monkeypatch):
    class StoppedError(Exception):
        pass

    def stop(cfg, checkpoint):
        raise StoppedError(checkpoint)

    monkeypatch.setattr(demo, 'test', stop)
    with pytest.raises(StoppedError, match='best_mIoU_iter_1.pth'):
        demo.run_demo('mmseg_faseg::faseg_toy.py', str(tmp_path / 'work'), str(work_dir))


@pytest.mark.parametrize(
    ('resume', 'taken'),
    [(False, 'best_mIoU_iter_1.pth'), (True, 'iter_2.pth')],
)
def test_to_start_from_and_to_go_on_from(trained, work_dir, tmp_path, monkeypatch, resume, taken):
    """Training goes on from the newest, since the best has no state of the optimizer."""
    cfg = apis.load_config(str(trained.config), {'load_from': str(work_dir)})
    cfg.work_dir = str(tmp_path / 'work')

    class StoppedError(Exception):
        pass

    def stop(cfg):
        raise StoppedError(cfg.load_from)

    monkeypatch.setattr(run, '_check_model', stop)
    with pytest.raises(StoppedError, match=f'{taken}$'):
        apis.train(cfg, resume=resume and str(work_dir))
