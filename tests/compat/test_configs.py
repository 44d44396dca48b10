"""Configs by name, from everywhere where a config is asked for."""

import importlib
from pathlib import Path

import mmengine.hub
import pytest
import yaml
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmseg.apis import MMSegInferencer, init_model

from mmseg_faseg.compat import config_path


def test_our_config_by_name_as_base(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = ['mmseg_faseg::mask2former_r18_camvid.py']\nmodel = dict(backbone=dict(depth=34))"
    )
    cfg = Config.fromfile(config)
    assert cfg.model.backbone.depth == 34
    assert cfg.train_dataloader.dataset.type == 'CamVidDataset'


def test_our_config_by_name_from_the_hub():
    cfg = mmengine.hub.get_config('mmseg_faseg::mask2former_r18_camvid.py')
    assert cfg.filename.endswith('mask2former_r18_camvid.py')
    # Others still go MMEngine's way.
    other = mmengine.hub.get_config('mmseg::_base_/default_runtime.py')
    assert other.default_scope == 'mmseg'


def test_unknown_config_lists_those_there_are():
    with pytest.raises(FileNotFoundError, match='no config .*nosuch.py.*mask2former_r18_camvid.py'):
        config_path('mmseg_faseg::nosuch.py')


OURS = 'mmseg_faseg::mask2former_toy.py'


@pytest.mark.parametrize(
    'build',
    [
        mmengine.hub.get_model,
        lambda name: init_model(name, device='cpu'),
        lambda name: init_detector(name, device='cpu', palette='random'),
        lambda name: MMSegInferencer(name, device='cpu').model,
    ],
    ids=['hub.get_model', 'init_model', 'init_detector', 'MMSegInferencer'],
)
def test_models_are_built_by_name(build):
    head = build(OURS).decode_head
    assert type(head).__name__ == 'Mask2FormerHead'
    assert head.num_queries == 20


def test_a_config_is_read_by_name():
    cfg = Config.fromfile(OURS, use_predefined_variables=False)
    assert cfg.filename == str(config_path(OURS))
    assert cfg.pretty_text == Config.fromfile(config_path(OURS)).pretty_text


def test_no_weights_are_published():
    with pytest.raises(ValueError, match=f'no trained weights are published for {OURS}'):
        mmengine.hub.get_model(OURS, pretrained=True)


@pytest.mark.parametrize(
    'read',
    [
        mmengine.hub.get_config,
        mmengine.hub.get_model,
        Config.fromfile,
        lambda name: init_model(name, device='cpu'),
        lambda name: MMSegInferencer(name, device='cpu'),
    ],
    ids=['get_config', 'get_model', 'fromfile', 'init_model', 'MMSegInferencer'],
)
def test_unknown_names_list_those_there_are(read):
    with pytest.raises(FileNotFoundError, match='no config .*nosuch.py.*mask2former_toy.py'):
        read('mmseg_faseg::nosuch.py')


# --- bases of other packages


@pytest.fixture
def parsed(monkeypatch):
    """The YAML documents parsed meanwhile."""
    documents = []
    load = yaml.load

    def counted(stream, *args, **kwargs):
        documents.append(stream)
        return load(stream, *args, **kwargs)

    monkeypatch.setattr(yaml, 'load', counted)
    config_utils.load.cache_clear()
    return documents


def test_a_base_needs_no_metafile(parsed):
    Config.fromfile(config_path(OURS))
    mmengine.hub.get_config(OURS)
    assert parsed == []


def test_the_hub_parses_metafiles_once(parsed):
    name = 'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'
    first = mmengine.hub.get_config(name, pretrained=True)
    parsed.clear()
    second = mmengine.hub.get_config(name.replace('r50', 'r101'), pretrained=True)
    assert parsed == []
    assert (first.model.backbone.depth, second.model.backbone.depth) == (50, 101)
    assert 'r50-d8' in first.model_path
    assert 'r101-d8' in second.model_path


@pytest.mark.parametrize('package', ['mmseg', 'mmdet', 'mmpretrain'])
def test_a_base_is_the_one_that_mmengine_finds(package):
    get_cfg_path = Config._get_cfg_path
    for name in ('_base_/default_runtime.py', *_some_configs(package)):
        name = f'{package}::{name}'
        assert get_cfg_path(name, '') == get_cfg_path.__wrapped__(name, '')


def _some_configs(package):
    folder = Path(importlib.import_module(package).__file__).with_name('.mim') / 'configs'
    return [str(path.relative_to(folder)) for path in sorted(folder.glob('*/*.py'))[::150]]


@pytest.mark.parametrize(
    ('name', 'error'),
    [
        ('mmseg::pspnet/nosuch.py', FileNotFoundError),
        ('nosuch::pspnet/nosuch.py', AssertionError),
        ('mmseg::nosuch.py', ValueError),
        ('mmpose::a/b.py', ModuleNotFoundError),
    ],
)
def test_wrong_names_are_refused_as_mmengine_does(name, error):
    for get_cfg_path in (Config._get_cfg_path, Config._get_cfg_path.__wrapped__):
        with pytest.raises(error):
            get_cfg_path(name, '')


def test_a_path_is_relative_to_the_config():
    assert Config._get_cfg_path('../a.py', '/some/where/b.py') == ('/some/where/../a.py', None)
