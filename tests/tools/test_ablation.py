"""The grid of ablations: its configs, its runs, its table."""

import csv
import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_faseg.ablation import POSITIONAL_QUERIES, Variant, ablate, grid
from mmseg_faseg.apis import UserError, load_config
from tests.helpers.tools import call_tool

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


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--jobs', 0), '--jobs must be at least 1'),
        (('--seeds', -1), '--seeds 0, got 1 and -1'),
        (('--ratio', 0), r'ratio must lie in \(0, 1\], got 0'),
        (('--threshold', 1.5), r'mask_threshold must lie in \(0, 1\), got 1.5'),
        (('--work-dir', 'tiny.py'), '--work-dir: .*tiny.py'),
        (('--cfg-options', 'train_cfg._delete_=True'), 'no train_cfg.max_iters'),
    ],
)
def test_bad_values_cost_no_time(arguments, message, write_config, tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path / 'tiny.py')
    with pytest.raises(SystemExit) as stop:
        call_tool(
            'ablate.py', '--config', config, *arguments, monkeypatch=monkeypatch, cwd=tmp_path
        )
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ['tiny.py']


@pytest.mark.subprocess
def test_runs_are_tabulated_and_not_repeated(write_config, tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path / 'tiny.py')
    arguments = ['--config', config, '--work-dir', 'grid', '--seeds', '0', '--hrca', 'block']
    options = ['--cfg-options', 'train_cfg.max_iters=2']
    call_tool(
        *('ablate.py', *arguments, '--positional-query', 'learned', 'dynamic', *options),
        monkeypatch=monkeypatch,
        cwd=tmp_path,
    )
    out = capsys.readouterr().out
    assert 'learned_block-0.03125_conditional_0.15, seed 0: mIoU' in out
    with (tmp_path / 'grid' / 'ablation.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['positional_query'] for row in rows] == ['learned', 'dynamic']
    assert all(0 <= float(row['mIoU']) <= 100 for row in rows)
    assert int(rows[1]['parameters']) > int(rows[0]['parameters']) > 0  # DFPQ's h
    assert int(rows[1]['FLOPs']) > int(rows[0]['FLOPs']) > 0

    # A finished run is taken as it is, with a result that no run would give; a further seed is run.
    run = tmp_path / 'grid' / 'learned_block-0.03125_conditional_0.15' / 'seed0'
    result = json.loads((run / 'result.json').read_text())
    (run / 'result.json').write_text(json.dumps(result | dict(miou=12.34)))
    arguments[arguments.index('0')] = '0 1'
    call_tool(
        *('ablate.py', *' '.join(map(str, arguments)).split()),
        *('--positional-query', 'learned', *options),
        monkeypatch=monkeypatch,
        cwd=tmp_path,
    )
    first, second = list(csv.DictReader((tmp_path / 'grid' / 'ablation.csv').open()))
    assert (float(first['mIoU']), second['seed']) == (12.34, '1')
    mean = (12.34 + float(second['mIoU'])) / 2
    assert f'| {mean:.2f} ± ' in (tmp_path / 'grid' / 'ablation.md').read_text()

    with pytest.raises(UserError, match='holds a run of another config'):
        ablate(str(config), [DEFAULT], [0], str(tmp_path / 'grid'))


@pytest.mark.subprocess
def test_a_failing_run_is_named_after_the_others(write_config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = str(write_config(tmp_path / 'tiny.py'))
    base = {'train_cfg.max_iters': 2}
    broken = base | {'optim_wrapper.type': 'NoSuchWrapper'}
    with pytest.raises(UserError, match=r'runs failed, see log.txt there: .*grid/.*seed0'):
        ablate(config, [DEFAULT], [0], 'grid', options=broken)
    log = tmp_path / 'grid' / str(DEFAULT) / 'seed0' / 'log.txt'
    assert 'Traceback' in log.read_text()
    assert 'NoSuchWrapper' in log.read_text()
