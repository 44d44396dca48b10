"""Rows of ablations: each says what differs from its base, and is what its table says."""

import ast
import csv

import pytest
import torch

from mmseg_faseg.apis.model import build_model
from tests.helpers.configs import load
from tests.helpers.full_size import build_segmentor, outline
from tests.helpers.small_head import samples
from tests.helpers.tools import REPOSITORY

ROWS = sorted((REPOSITORY / 'configs/ablation').glob('*.py'))
FILES = {path.stem: path for path in ROWS if 'panoptic' not in path.stem}
MERGING = [path.stem for path in ROWS if path.stem not in FILES]
TABLE = REPOSITORY / 'docs' / 'ablations.csv'
TOY = {  # positional query and HRCA in the table
    ('learned', 'none'): 'ablation/faseg_toy_learned_no-hrca',
    ('learned', 'block'): 'ablation/faseg_toy_learned',
    ('anchor', 'none'): 'ablation/faseg_toy_anchor_no-hrca',
    ('anchor', 'block'): 'ablation/faseg_toy_anchor',
    ('dynamic', 'none'): 'ablation/faseg_toy_no-hrca',
    ('dynamic', 'block'): 'faseg_toy',
}


@pytest.mark.parametrize('row', FILES)
def test_a_row_says_what_differs_in_the_decode_head(row):
    lines = FILES[row].read_text().splitlines()
    assert lines[0].startswith('# ')
    base, model = ast.parse('\n'.join(lines)).body
    assert (base.targets[0].id, model.targets[0].id) == ('_base_', 'model')
    cfg = load(f'ablation/{row}')
    whole = load(next(name for name in ('faseg_toy', 'faseg_lite0_camvid') if name in row))
    head, whole_head = (one.model.pop('decode_head') for one in (cfg, whole))
    assert {key: cfg[key] for key in cfg} == {key: whole[key] for key in whole}
    assert head != whole_head


@pytest.mark.full_size
@pytest.mark.parametrize('row', FILES)
def test_a_row_trains(row):
    cfg = load(f'ablation/{row}')
    model = build_segmentor(cfg).train()
    labels = torch.randint(0, 8, (2, 64, 64))
    losses = model.loss(torch.randn(2, 3, 64, 64), samples(labels))
    predictions = cfg.model.decode_head.transformer_decoder.num_layers + 1
    assert len([n for n in losses if 'loss_mask' in n and 'pilot.' not in n]) == predictions
    sum(losses.values()).backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


@pytest.mark.parametrize('row', MERGING)
def test_rows_of_merging_take_the_weights_of_their_base(row):
    base, merging = row.rsplit('_', 1)
    whole, cfg = load(base), load(f'ablation/{row}')
    assert cfg.model.test_cfg.merging == merging
    assert whole.model.test_cfg.get('merging', 'argmax') != merging
    assert cfg.model.test_cfg.panoptic_on
    assert cfg.model.test_cfg.instance_on
    assert {key: cfg[key] for key in cfg if key != 'model'} == {
        key: whole[key] for key in whole if key != 'model'
    }
    models = [build_model(one).state_dict() for one in (whole, cfg)]
    assert [{key: value.shape for key, value in own.items()} for own in models[1:]] == [
        {key: value.shape for key, value in models[0].items()}
    ]


@pytest.mark.parametrize('kind', TOY, ids='-'.join)
def test_toy_rows_are_those_of_the_table(kind):
    rows = list(csv.DictReader(TABLE.open()))
    (row,) = [row for row in rows if (row['positional_query'], row['hrca']) == kind][:1]
    parameters = sum(p.numel() for p in outline(load(TOY[kind])).parameters())
    assert parameters == int(row['parameters'])  # which no two rows share
    head = load(TOY[kind]).model.decode_head
    assert head.mask_threshold == float(row['threshold'])
    assert head.positional_encoding.type == 'ConditionalPositionalEncoding'


def test_camvid_rows_report_boundaries_and_sizes():
    types = [metric.type for metric in load('faseg_lite0_camvid').test_evaluator]
    assert types == ['IoUMetric', 'BoundaryIoUMetric', 'SizeIoUMetric']
