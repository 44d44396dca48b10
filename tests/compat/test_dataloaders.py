"""A data loader without workers needs no other change of a config."""

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import FlexibleRunner, Runner

from mmseg_faseg.engine import ReadableRunner

WORKERS = dict(
    persistent_workers=True, prefetch_factor=4, multiprocessing_context='fork', timeout=30
)


@pytest.fixture
def settings(trained):
    cfg = Config.fromfile(trained.config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield ConfigDict(cfg.val_dataloader)


@pytest.mark.parametrize('runner', [Runner, ReadableRunner, FlexibleRunner])
@pytest.mark.parametrize('name', WORKERS)
def test_what_needs_workers_is_left_out_without_them(settings, runner, name):
    settings.update({'num_workers': 0, name: WORKERS[name]})
    loader = runner.build_dataloader(settings, seed=0)
    assert loader.num_workers == 0
    assert len(list(loader)) == 5
    assert settings[name] == WORKERS[name]  # the caller's stay as they are


def test_none_are_the_default(settings):
    del settings['num_workers']
    assert len(list(Runner.build_dataloader(dict(settings, persistent_workers=True)))) == 5


def test_workers_keep_their_settings(settings):
    loader = Runner.build_dataloader(dict(settings, num_workers=1, **WORKERS))
    assert loader.persistent_workers
    assert loader.prefetch_factor == 4
    assert loader.timeout == 30


def test_a_loader_that_is_built_stays_as_it_is(settings):
    loader = Runner.build_dataloader(settings)
    assert Runner.build_dataloader(loader) is loader
