"""The grid of ablations: its configs, its runs, its table."""

import json
import re
import statistics

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_faseg.apis import UserError, load_config
from tests.helpers.tools import call_tool
from tools.benchmarks import ablation
from tools.benchmarks.variants import POSITIONAL_QUERIES, Variant, grid

DEFAULT = Variant('dynamic', 'block', 1 / 32, 'conditional', 0.15)


def test_a_grid_has_each_combination_once():
    cells = grid(['learned', 'dynamic'], ['none', 'block'], [1 / 32, 1 / 8], ['sinusoid'], [0.5])
    assert [str(cell) for cell in cells] == [
        'learned_none_sinusoid_0.5',
        'learned_block-0.03125_sinusoid_0.5',
        'learned_block-0.125_sinusoid_0.5',
        'dynamic_none_sinusoid_0.5',
        'dynamic_block-0.03125_sinusoid_0.5',
        'dynamic_block-0.125_sinusoid_0.5',
    ]


def test_the_default_variant_is_the_config_itself():
    base = load_config('mmseg_faseg::faseg_toy.py')
    assert DEFAULT.apply(base).model == base.model


def test_without_hrca_its_layers_and_its_level_go():
    cfg = DEFAULT._replace(hrca='none', ratio=None).apply(
        load_config('mmseg_faseg::faseg_r50_ade20k.py')
    )
    head = cfg.model.decode_head
    assert (head.transformer_decoder.num_layers, head.num_transformer_feat_level) == (10, 3)


@pytest.mark.parametrize(
    'variant',
    grid(['learned', 'anchor', 'dynamic'], ['none', 'block', 'pixel'], [1 / 4], ['sinusoid'], [0.5])
    + grid(['dynamic'], ['block'], [1 / 4], ['conditional'], [0.15]),
    ids=str,
)
def test_every_variant_trains(variant, write_config, tmp_path):
    cfg = variant.apply(Config.fromfile(write_config(tmp_path / 'tiny.py')))
    head = cfg.model.decode_head
    assert head.mask_threshold == variant.threshold
    cfg.model.backbone.norm_cfg.type = 'BN'
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    kind = POSITIONAL_QUERIES[variant.positional_query]
    assert type(model.decode_head.positional_query).__name__ == kind
    class_logits, mask_logits = model(torch.randn(2, 3, 64, 64))
    (class_logits[-1].sum() + mask_logits[-1].sum()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_other_configs_are_refused():
    with pytest.raises(UserError, match='mask2former_toy.py: variants are made of a FASegHead'):
        DEFAULT.apply(load_config('mmseg_faseg::mask2former_toy.py'))


@pytest.fixture
def refused(write_config, tmp_path, monkeypatch, capsys):
    """Calls the tool, which refuses before it counts FLOPs; nothing was written."""
    config = write_config(tmp_path / 'tiny.py')
    monkeypatch.delattr(ablation, 'complexity_of')

    def call(*arguments):
        before = sorted(tmp_path.rglob('*'))
        with pytest.raises(SystemExit) as stop:
            call_tool(
                'ablate.py', '--config', config, *arguments, monkeypatch=monkeypatch, cwd=tmp_path
            )
        assert stop.value.code == 2
        assert sorted(tmp_path.rglob('*')) == before
        return capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--jobs', 0), '--jobs must be at least 1, got 0'),
        (('--seeds', -1), '--seeds must be at least 0, got -1'),
        (('--ratio', 0.5, 0), r'ratio must lie in \(0, 1\], got 0'),
        (('--threshold', 0.5, 1.5), r'mask_threshold must lie in \(0, 1\), got 1.5'),
        (('--work-dir', 'tiny.py'), '--work-dir: .*tiny.py'),
        (('--cfg-options', 'train_cfg._delete_=True'), 'no train_cfg.max_iters'),
        (('--cfg-options', 'data_root=nowhere'), "missing folder 'nowhere/images'"),
    ],
)
def test_bad_values_cost_no_time(arguments, message, refused):
    assert re.search(message, refused(*arguments))


def test_runs_of_another_config_are_found_at_once(refused, tmp_path):
    run = tmp_path / 'grid' / str(DEFAULT) / 'seed0'
    run.mkdir(parents=True)
    (run / 'config.py').write_text('another')
    (run / 'iter_2.pth').touch()
    assert 'holds a run of another config' in refused('--work-dir', 'grid')


@pytest.mark.subprocess
def test_runs_are_tabulated_and_not_repeated(write_config, tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path / 'tiny.py')

    def ablate(*arguments):
        call_tool(
            *('ablate.py', '--config', config, '--work-dir', 'grid', '--hrca', 'block', *arguments),
            *('--cfg-options', 'train_cfg.max_iters=2'),
            monkeypatch=monkeypatch,
            cwd=tmp_path,
        )
        return json.loads((tmp_path / 'grid' / 'ablation.json').read_text())

    results = ablate('--seeds', 0, '--positional-query', 'learned', 'dynamic')
    assert 'learned_block-0.03125_conditional_0.15, seed 0: mIoU' in capsys.readouterr().out
    assert [run['positional_query'] for run in results['runs']] == ['learned', 'dynamic']
    assert all(0 <= run['miou'] <= 100 for run in results['runs'])
    learned, dynamic = results['variants'].values()
    assert dynamic['parameters'] > learned['parameters'] > 0  # DFPQ's h
    assert dynamic['FLOPs'] > learned['FLOPs'] > 0

    # A finished run is taken as it is, with a result that no run would give; a further seed is run.
    run = tmp_path / 'grid' / 'learned_block-0.03125_conditional_0.15' / 'seed0'
    result = json.loads((run / 'result.json').read_text())
    (run / 'result.json').write_text(json.dumps(result | dict(miou=12.34)))
    first, second = ablate('--seeds', 0, 1, '--positional-query', 'learned')['runs']
    assert (first['miou'], second['seed']) == (12.34, 1)
    mean = statistics.mean([12.34, second['miou']])  # as the table, where a half may be rounded
    assert f'| {mean:.2f} ± ' in (tmp_path / 'grid' / 'ablation.md').read_text()


@pytest.mark.subprocess
def test_a_failing_run_is_named_after_the_others(write_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {'train_cfg.max_iters': 2, 'optim_wrapper.type': 'NoSuchWrapper'}
    config = load_config(str(write_config(tmp_path / 'tiny.py')), options)
    with pytest.raises(UserError, match=r'runs failed, see log.txt there: .*grid/.*seed0'):
        ablation.ablate(config, [DEFAULT], [0], 'grid')
    log = tmp_path / 'grid' / str(DEFAULT) / 'seed0' / 'log.txt'
    assert 'Traceback' in log.read_text()
    assert 'NoSuchWrapper' in log.read_text()
