"""A model is a method on a backbone: each stands once, and any two go together."""

import ast
from pathlib import Path

import pytest
from mmengine.config import Config

import mmseg_faseg
from tests.helpers.configs import OF_BOTH_HEADS, OF_THE_RUN

CONFIGS = Path(mmseg_faseg.__path__[0], '.mim', 'configs').resolve()
MODELS = CONFIGS / '_base_' / 'models'
METHODS, BACKBONES = (
    sorted(path.stem for path in (MODELS / axis).glob('*.py')) for axis in ('methods', 'backbones')
)
BASELINES = sorted(  # those of detectors: test_detectors.py
    path.stem
    for path in CONFIGS.glob('mask2former*.py')
    if './_base_/default_runtime.py' in path.read_text()
)


@pytest.mark.parametrize('name', BASELINES)
def test_baseline_differs_in_the_decode_head_alone(name):
    baseline, faseg = (
        Config.fromfile(CONFIGS / f'{stem}.py')
        for stem in (name, name.replace('mask2former', 'faseg'))
    )
    assert {key: baseline.get(key) for key in OF_THE_RUN} == {
        key: faseg.get(key) for key in OF_THE_RUN
    }
    ours, theirs = (cfg.model.pop('decode_head') for cfg in (faseg, baseline))
    assert faseg.model.pop('type') == 'FASegSegmentor'
    kind = 'FASegSegmentor' if 'own-data' in name else 'EncoderDecoder'  # with a mask pilot
    assert baseline.model.pop('type') == kind
    assert baseline.model == faseg.model
    assert {key: theirs[key] for key in OF_BOTH_HEADS} == {key: ours[key] for key in OF_BOTH_HEADS}
    assert theirs.pixel_decoder.encoder == ours.pixel_decoder.encoder


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('method', METHODS)
def test_any_method_takes_any_backbone(method, backbone, tmp_path):
    bases = [f'{MODELS}/methods/{method}.py', f'{MODELS}/backbones/{backbone}.py']
    pair = tmp_path / 'pair.py'
    pair.write_text(f'_base_ = {bases}\nmodel = {{{{_base_.backbone_settings}}}}\n')
    model = Config.fromfile(pair).model
    alone = Config.fromfile(f'{MODELS}/methods/{method}.py').model
    assert model.backbone.type in (
        'ResNet',
        'SwinTransformer',
        'TimmFeatures',
        'mmpretrain.ConvNeXt',
    )
    assert len(model.decode_head.in_channels) == 4
    assert model.type == alone.type
    assert model.decode_head.loss_mask == alone.decode_head.loss_mask


@pytest.mark.parametrize('path', sorted(MODELS.glob('*.py')), ids=lambda path: path.stem)
def test_pair_says_nothing_of_its_own(path):
    bases, model = ast.parse(path.read_text()).body
    method, backbone = path.stem.split('_')
    assert ast.literal_eval(bases.value) == [f'./methods/{method}.py', f'./backbones/{backbone}.py']
    assert ast.unparse(model) == 'model = {{_base_.backbone_settings}}'
