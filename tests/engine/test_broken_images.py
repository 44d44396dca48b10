"""A file that breaks while training runs is named, or replaced and listed."""

import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmcv.transforms import BaseTransform
from mmengine.runner import Runner
from mmseg.registry import TRANSFORMS

from mmseg_faseg import apis
from mmseg_faseg.engine import BrokenImageError, BrokenImagesHook, explained_dead_workers
from mmseg_faseg.errors import UserError

WORKERS = {
    'none': dict(num_workers=0),
    'two': dict(num_workers=2),
    'persistent': dict(num_workers=2, persistent_workers=True),
}


@TRANSFORMS.register_module()
class FailOn(BaseTransform):
    """Fails, or kills its process, at one image."""

    def __init__(self, name: str, kill: bool = False) -> None:
        self.name = name
        self.kill = kill

    def transform(self, results: dict) -> dict:
        if Path(results['img_path']).name == self.name:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyError('a bug')
        return results


@pytest.fixture
def cfg_of(write_config, tiny_data, tmp_path, request):
    """The tiny model's config with data of its own, whose files are not checked before."""

    def build(workers='none', fail=None, **kwargs):
        root = tmp_path / 'data'
        shutil.copytree(tiny_data, root)
        cfg = apis.load_config(str(write_config(tmp_path / 'tiny.py')))
        cfg.custom_hooks = [dict(type='BrokenImagesHook', **kwargs)]
        cfg.work_dir = str(tmp_path / 'work')
        cfg.visualizer.name = cfg.experiment_name = request.node.name
        cfg.train_dataloader.update(WORKERS[workers])
        cfg.train_dataloader.dataset.data_root = str(root)
        if fail is not None:
            cfg.train_dataloader.dataset.pipeline.insert(-1, fail)
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        cfg.default_hooks.checkpoint.save_best = None
        return cfg, root

    return build


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize('workers', WORKERS)
@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_a_broken_file_is_named(cfg_of, kind, workers):
    cfg, root = cfg_of(workers)
    cut(root / kind / '3.png')
    with pytest.raises(BrokenImageError) as error:
        apis.train(cfg)
    assert re.fullmatch(rf'{root}/{kind}/3.png: cannot be read \(OSError: .*\)', str(error.value))


@pytest.mark.parametrize('workers', WORKERS)
def test_a_broken_file_is_replaced_and_listed(cfg_of, workers, tmp_path):
    cfg, root = cfg_of(workers, on_broken='skip-and-list')
    cut(root / 'images/3.png')
    (root / 'labels/1.png').unlink()
    cfg.train_cfg.max_iters = 6
    apis.train(cfg)
    lines = sorted(set((tmp_path / 'work/broken_images.txt').read_text().splitlines()))
    assert len(lines) == 2
    assert lines[0].startswith(f'{root}/images/3.png: cannot be read (OSError: ')
    assert lines[1].startswith(f'{root}/labels/1.png: no such file')
    log = next((tmp_path / 'work').rglob('2*.log')).read_text()
    assert f'2 broken images were replaced by others: {tmp_path}/work/broken_images.txt' in log


def test_validation_replaces_nothing(cfg_of, trained, tmp_path):
    """A metric of other images would be another metric."""
    cfg, root = cfg_of(on_broken='skip-and-list')
    cfg.test_dataloader.dataset.data_root = str(root)
    cut(root / 'images/3.png')
    with pytest.raises(BrokenImageError, match='images/3.png: cannot be read'):
        apis.test(cfg, str(trained.checkpoint))
    assert not (tmp_path / 'work/broken_images.txt').exists()


@pytest.mark.parametrize('workers', ['none', 'two'])
def test_a_transform_that_fails_keeps_its_trace(cfg_of, workers):
    cfg, root = cfg_of(workers, fail=dict(type='FailOn', name='3.png'))
    note = rf'\(while {root}/images/3.png was read, whose files are sound\)'
    with pytest.raises(KeyError) as error:
        apis.train(cfg)
    said = '\n'.join([str(error.value), *getattr(error.value, '__notes__', [])])
    assert re.search(note, said)


def test_a_worker_that_is_killed_is_reported_with_its_file(cfg_of):
    cfg, root = cfg_of('two', fail=dict(type='FailOn', name='3.png', kill=True))
    message = rf'a data loader worker \(pid \d+\) .* while it was at {root}/images/3.png; where'
    with pytest.raises(UserError, match=message) as error:
        apis.train(cfg)
    assert len(str(error.value).splitlines()) == 1


def test_a_death_that_another_package_wraps_is_found():
    """PyTorch's signal handler interrupts what runs, once it was the formatter of configs."""

    def format_config():
        try:
            raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')
        except RuntimeError as error:
            raise SyntaxError('Failed to format the config file') from error

    message = r'worker \(pid 7\) is killed by signal: Killed while it was at no file'
    runner = SimpleNamespace(hooks=[])
    with pytest.raises(UserError, match=message), explained_dead_workers(runner):
        format_config()
    with pytest.raises(SyntaxError), explained_dead_workers(runner):
        raise SyntaxError('Failed to format the config file')


def test_without_the_hook_nothing_is_replaced(cfg_of):
    cfg, root = cfg_of()
    cfg.custom_hooks = []
    loop = Runner.from_cfg(cfg).train_loop
    assert 'prepare_data' not in vars(loop.dataloader.dataset)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="on_broken must be one of .*got 'skip'"):
        BrokenImagesHook('skip')
