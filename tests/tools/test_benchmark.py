"""Benchmarks: what they measure is what they say, and what they refuse."""

import json
import os
import statistics
import subprocess
import sys

import pytest
import torch
from torch.utils._pytree import tree_leaves

from mmseg_faseg.apis import UserError, load_config
from mmseg_faseg.apis.complexity import Complexity, Part
from mmseg_faseg.benchmark import axes, comparison, memory, scaling, timing
from mmseg_faseg.benchmark import task as task_module
from mmseg_faseg.benchmark.axes import Point, growth_exponents
from mmseg_faseg.benchmark.comparison import Plan, compare
from mmseg_faseg.benchmark.inputs import feature_maps, images, label_maps
from mmseg_faseg.benchmark.parts import time_parts
from mmseg_faseg.benchmark.precision import PRECISIONS
from mmseg_faseg.benchmark.report import Report, markdown
from mmseg_faseg.benchmark.scaling import Scan, scan
from mmseg_faseg.benchmark.subjects import Subject
from mmseg_faseg.benchmark.tasks import TASKS
from tests.helpers.tools import call_tool

TOYS = ('mmseg_faseg::faseg_toy.py', 'mmseg_faseg::mask2former_toy.py')
SIZE = (64, 96)
MIB = 2**20


@pytest.fixture(scope='module')
def subjects():
    return [Subject.of(load_config(name), classes=5, queries=7) for name in TOYS]


@pytest.fixture(scope='module')
def models(subjects):
    return [subject.build('cpu') for subject in subjects]


@pytest.fixture
def fake_costs(monkeypatch):
    """No processes, and no counting of FLOPs: 3 MiB for the first model asked about, 6, 9, ..."""
    asked = []

    def task_memory(subject, *_):
        asked.append(subject.name)
        return 3 * MIB * len(asked)

    monkeypatch.setattr(comparison, 'task_memory', task_memory)
    monkeypatch.setattr(scaling, 'task_memory', task_memory)
    monkeypatch.setattr(comparison, 'complexity_of', complexity_of)
    return asked


def complexity_of(cfg, size):
    """1000 FLOPs a pixel, 200 of them in the backbone."""
    pixels = size[0] * size[1]
    return Complexity(1, 1, 1000 * pixels, dict(backbone=Part(1, 1, 200 * pixels)))


# --- time


def test_runs_take_turns():
    order = []
    seconds = timing.interleave([lambda: order.append('A'), lambda: order.append('B')], 3)
    assert ''.join(order) == 'AB' + 'ABABAB'  # warm-up first
    assert [len(own) for own in seconds] == [3, 3]


def test_ratio_is_of_medians():
    assert timing.ratio([1.0, 2.0, 90.0], [4.0, 4.0, 1.0]) == 0.5


# --- memory


@pytest.mark.subprocess
@pytest.mark.skipif(not memory.can_measure('cpu'), reason='no /proc/self/clear_refs')
@pytest.mark.parametrize('mebibytes', [40, 200])
def test_a_known_allocation(mebibytes):
    """What is allocated and freed again within the run, and not what was there before."""
    code = f"""
import numpy as np
from mmseg_faseg.benchmark.memory import peak_memory

before = np.ones({50 * MIB}, np.uint8)
np.ones({300 * MIB}, np.uint8)  # an earlier peak, which is none of this run's

def run():
    np.ones({mebibytes * MIB}, np.uint8)
    np.ones({10 * MIB}, np.uint8)

print(peak_memory(run, 'cpu'))
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=os.environ | memory.ALLOCATOR,
        capture_output=True,
        text=True,
        check=True,
    )
    measured = int(done.stdout.splitlines()[-1])
    assert measured == pytest.approx(mebibytes * MIB, rel=0.05)


@pytest.mark.subprocess
@pytest.mark.skipif(not memory.can_measure('cpu'), reason='no /proc/self/clear_refs')
def test_memory_of_a_task_is_that_of_its_tensors(subjects, models):
    """Resident memory grows by the tensors that live at once, and little else."""
    from tests.helpers.live_tensors import LiveTensors

    size = (384, 384)
    task = TASKS['predict'](subjects[0], models[0])
    inputs = task.inputs(size, 1)
    with LiveTensors() as tensors:
        for param in models[0].parameters():  # they are there before
            tensors.alive[param.untyped_storage()._cdata] = 0
        task(inputs)
    measured = memory.task_memory(subjects[0], 'predict', size, 1, 'cpu', 1)
    assert 0.9 * tensors.peak < measured < 1.4 * tensors.peak
    assert not {*memory.ALLOCATOR} & {*os.environ}


@pytest.mark.subprocess
def test_memory_of_training_includes_gradients(subjects, models):
    """Those of the parameters too, which an earlier run has left behind."""
    measured = memory.task_memory(subjects[0], 'train', (64, 64), 1, 'cpu', 1)
    head = models[0].decode_head
    assert measured > sum(param.nbytes for param in head.parameters() if param.requires_grad)


def test_where_linux_counts_nothing(monkeypatch, tmp_path, subjects, fake_costs):
    monkeypatch.setattr(memory, '_CLEAR_REFS', tmp_path / 'missing' / 'clear_refs')
    assert not memory.can_measure('cpu')
    report = Report(tmp_path, 'command')
    compare(Plan(*subjects, ['predict'], [SIZE], threads=1, repeats=1), report)
    assert not fake_costs
    assert 'Not measured' in (tmp_path / 'benchmark.md').read_text()


# --- tasks


@pytest.mark.parametrize('name', TASKS)
def test_same_inputs_for_both(name, subjects, models):
    if name == 'decoder':
        pytest.skip('one model against itself')
    both = [
        TASKS[name](subject, model).inputs(SIZE, 2)
        for subject, model in zip(subjects, models, strict=True)
    ]
    tensors = [[x for x in tree_leaves(own) if torch.is_tensor(x)] for own in both]
    assert all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


@pytest.mark.parametrize('index', [0, 1])
def test_tasks_do_what_they_say(index, subjects, models):
    subject, model = subjects[index], models[index]
    predict, segmentor = (TASKS[name](subject, model) for name in ('predict', 'segmentor'))
    assert predict(predict.inputs(SIZE, 2)).shape == (2, 5, *SIZE)
    classes = segmentor.class_maps(segmentor(segmentor.inputs(SIZE, 2)))
    assert classes.shape == (2, *SIZE)
    assert not any(param.grad is not None for param in model.parameters())

    train = TASKS['train'](subject, model)
    features, gradients = train.inputs(SIZE, 2)
    train((features, gradients))
    assert all(x.grad.abs().sum() > 0 for x in features)
    assert model.decode_head.cls_embed.weight.grad.abs().sum() > 0
    assert model.backbone.conv1.weight.grad is None

    before = model.backbone.conv1.weight.clone()
    iteration = TASKS['iteration'](subject, model)
    iteration(iteration.inputs(SIZE, 2))
    assert not torch.equal(before, model.backbone.conv1.weight)


def test_large_images_are_tiles_of_scenes():
    """One scene per image, which is not blank, and another for the next image."""
    batch = images((520, 600), 2, torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    assert batch.shape == (2, 3, 520, 600)
    assert torch.equal(batch[..., :512, 512:], batch[..., :512, :88])
    assert torch.equal(batch[..., 512:, :512], batch[..., :8, :512])
    assert not torch.equal(batch[0], batch[1])
    assert batch.std() > 1


def test_label_maps_look_like_scenes():
    labels = label_maps(150, (128, 100), 2)
    assert labels.shape == (2, 128, 100)
    for label in labels:
        assert 10 <= len(label.unique()) <= 15
        assert (label[:, 1:] == label[:, :-1]).double().mean() > 0.9  # in segments


@pytest.mark.parametrize('first_region', ['background', 'foreground'])
def test_literal_formulas_are_the_decoder(first_region, subjects, monkeypatch):
    subject = Subject.of(subjects[0].cfg)
    subject.cfg.model.decode_head.positional_query.first_region = first_region
    model = subject.build('cpu').double()
    torch.nn.init.normal_(model.decode_head.mask_embed[-1].weight, std=0.5)
    monkeypatch.setattr(
        task_module, 'feature_maps', lambda *x: [m.double() for m in feature_maps(*x)]
    )
    results = []
    for literal in (False, True):
        task = TASKS['decoder'](subject._replace(literal=literal), model)
        results.append(task(task.inputs((256, 320), 2)))
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-9, rtol=1e-9)
    assert 'forward' not in vars(model.decode_head.pixel_decoder)


@pytest.mark.parametrize('name', ['segmentor', 'iteration'])
def test_parts_add_up(name, subjects, models):
    both = [TASKS[name](*pair) for pair in zip(subjects, models, strict=True)]
    for seconds in time_parts(both, [task.inputs(SIZE, 1) for task in both], 1, 'cpu'):
        whole = seconds.pop('whole')
        assert sum(seconds.values()) == pytest.approx(whole)
        assert all(own > 0 for own in seconds.values())
        assert {'losses', 'backward and step'} <= {*seconds} or name == 'segmentor'
    assert not any(module._forward_hooks for model in models for module in model.modules())
    assert 'loss' not in vars(models[0])


# --- the report


def test_report(tmp_path, subjects, fake_costs):
    report = Report(tmp_path, 'python tools/benchmark.py')
    compare(Plan(*subjects, ['predict', 'segmentor'], [SIZE], threads=1, repeats=3), report)
    text = (tmp_path / 'benchmark.md').read_text()
    results = json.loads((tmp_path / 'benchmark.json').read_text())
    assert markdown(results) == text == markdown(report.results)
    first, second = results['rows'][0]['seconds']
    ratio = statistics.median(first) / statistics.median(second)
    what = 'features to class scores: faseg_toy / mask2former_toy'
    assert f'{what}, time | {ratio:.2f} |' in text
    assert f'{what}, peak memory | 0.50 |' in text
    pixels = SIZE[0] * SIZE[1]  # a multiply-add is two; the head's task has no backbone
    assert [row['flops'][0] for row in results['flops']] == [1600 * pixels, 2000 * pixels]
    assert [row['task'] for row in results['parts']] == ['segmentor']


def test_interrupted_run_leaves_what_it_had(tmp_path, subjects, fake_costs, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TASKS['segmentor'], 'run', interrupted)
    report = Report(tmp_path, 'command')
    with pytest.raises(KeyboardInterrupt):
        compare(Plan(*subjects, ['predict', 'segmentor'], [SIZE], threads=1, repeats=1), report)
    results = json.loads((tmp_path / 'benchmark.json').read_text())
    assert [row['task'] for row in results['rows']] == ['predict']
    assert 'Ratios' in (tmp_path / 'benchmark.md').read_text()


def test_a_task_that_dies_is_a_row_like_others(tmp_path, subjects, monkeypatch):
    def killed(subject, name, *_):
        if name == 'predict':
            raise memory.OutOfMemory(f'{subject.name} was killed')
        return MIB

    monkeypatch.setattr(comparison, 'task_memory', killed)
    report = Report(tmp_path, 'command')
    compare(Plan(*subjects, ['predict', 'train'], [SIZE], threads=1, repeats=1), report)
    assert 'not measured: faseg_toy was killed' in (tmp_path / 'benchmark.md').read_text()
    assert 'seconds' in report.results['rows'][1]


@pytest.mark.parametrize(
    ('batch', 'limit', 'advice'),
    [
        (8, 4, 'a batch of 4 should fit'),  # 60 MiB and 10 for each image, 100 are free
        (8, 1, 'at most one image fits'),
        (1, 0, 'not even one image fits'),
    ],
)
def test_too_large_a_batch_is_told_what_fits(batch, limit, advice, tmp_path, subjects, monkeypatch):
    def task_memory(subject, name, size, batch, *_):
        if batch > limit:
            raise memory.OutOfMemory('too much')
        return (60 + 10 * batch) * MIB

    monkeypatch.setattr(comparison, 'task_memory', task_memory)
    monkeypatch.setattr(comparison.machine, 'available_memory', lambda _: 100 * MIB)
    report = Report(tmp_path, 'command')
    compare(Plan(*subjects, ['train'], [SIZE], batch=batch, threads=1, repeats=1), report)
    assert report.results['rows'][0]['skipped'] == f'too much; {advice}'


@pytest.mark.parametrize('name', ['predict', 'train', 'segmentor', 'iteration'])
def test_forward_passes_run_in_the_precision(name, subjects, models):
    head, seen = models[0].decode_head, []
    forward = head.transformer_decoder.forward

    def spy(*args):
        seen.append(torch.is_autocast_enabled('cpu'))
        return forward(*args)

    head.transformer_decoder.forward = spy
    try:
        for precision in ('bfloat16', 'float32'):
            task = TASKS[name](subjects[0]._replace(precision=precision), models[0])
            task(task.inputs(SIZE, 1))
    finally:
        del head.transformer_decoder.forward
    assert seen == [True, False]
    assert not torch.is_autocast_enabled('cpu')


def test_tf32_is_set_for_a_while():
    def flags():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = flags()
    for name, expected in (('tf32', ('high', True)), ('float32', ('highest', False))):
        with PRECISIONS[name].float32_products():
            assert flags() == expected
        assert flags() == before


def test_bfloat16_against_float32(tmp_path, subjects, fake_costs, monkeypatch):
    def class_maps(task, result):
        """Three of four pixels differ."""
        assert result[0].pred_sem_seg.data.shape[1:] == SIZE
        return torch.arange(4) * (task.subject.precision == 'bfloat16')

    monkeypatch.setattr(TASKS['segmentor'], 'class_maps', class_maps)
    half = subjects[0]._replace(name='half', precision='bfloat16')
    plan = Plan(half, subjects[0], ['segmentor'], [SIZE], threads=1, repeats=1)
    plan.check()
    report = Report(tmp_path, 'command')
    compare(plan, report)
    (row,) = report.results['rows']
    assert row['names'] == ['half', 'faseg_toy']
    assert {*report.results['matmul_flops']} == {'bfloat16', 'float32'}
    assert row['changed'] == 0.75
    assert 'pixels of another class | 75.000% |' in markdown(report.results)


# --- growth


def test_scan(tmp_path, subjects, fake_costs, monkeypatch):
    small = Point(side=64, queries=5, classes=3, batch=1)
    monkeypatch.setattr(axes, 'BASE', small)
    plan = Scan([subject.cfg for subject in subjects], dict(side=[64, 96], batch=[1, 2]), repeats=1)
    rows = scan(plan, tmp_path)
    assert len(rows) == 6  # the point that both axes share is measured once
    assert json.loads((tmp_path / 'scaling.json').read_text())['rows'] == rows
    assert len((tmp_path / 'scaling.csv').read_text().splitlines()) == 7
    assert (tmp_path / 'scaling.png').stat().st_size > 10_000
    assert growth_exponents(rows, 'batch', 'flops')['faseg_toy'] == pytest.approx(1)
    assert growth_exponents(rows, 'side', 'flops')['faseg_toy'] == pytest.approx(2)


def test_points_that_would_not_fit_are_left_out(tmp_path, subjects, fake_costs, monkeypatch):
    monkeypatch.setattr(axes, 'BASE', Point(side=64, queries=5, classes=3, batch=1))
    monkeypatch.setattr(scaling.machine, 'available_memory', lambda device: 10 * MIB)
    plan = Scan([subjects[0].cfg], dict(side=[64, 128, 192]), repeats=1)
    first, second, third = scan(plan, tmp_path)
    assert first['skipped'] is None
    assert 'that are free' in second['skipped']
    assert third['skipped'] == 'the point before it was left out'


# --- refusals


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.py'], 'config missing.py'),
        (['--size', '16'], '--size must be at least 32, got 16 x 16'),
        (['--size', '512y512'], "--size takes numbers such as 512 or 512x1024, got '512y512'"),
        (['--tasks', 'predicts'], '--tasks must be of predict, train'),
        (['--device', 'tpu'], '--device must be cpu or cuda, got tpu'),
        pytest.param(
            *(['--device', 'cuda'], 'CUDA'),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='needs no GPU'),
        ),
        (['--repeats', '0'], '--repeats must be at least 1, got 0'),
        (['--classes', '0'], '--classes must be at least 1, got 0'),
        (['--precision', 'tf32'], '--precision on cpu must be of float32, bfloat16, got tf32'),
        (['--other-precision', 'half'], '--precision on cpu must be of float32, bfloat16, got'),
        (['--tasks', 'decoder', '--size', '100'], '--size must be multiples of 32'),
        ([TOYS[1], '--tasks', 'decoder'], 'task decoder compares FASegHead as released'),
        ([TOYS[1], '--compile-deformable'], 'mmdet.MSDeformAttnPixelDecoder, has no back ends'),
        (['--cuda-graphs'], '--cuda-graphs needs --device cuda'),
        (['--checkpoint', 'missing.pth'], 'missing.pth'),
        (['--out', '/dev/null/folder'], '--out'),
    ],
)
def test_refusals(arguments, message, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        call_tool('benchmark.py', *arguments, monkeypatch=monkeypatch, cwd=tmp_path)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--task', 'train'], '--task must be predict or segmentor, got train'),
        (['--side', '8'], '--side must be at least 32, got 8 x 8'),
        (['--budget', '0'], '--budget must be more than 0 seconds, got 0'),
        ([TOYS[0], TOYS[0]], 'must differ in their file names, got faseg_toy, faseg_toy'),
        (['--batch', '0'], '--batch must be at least 1, got 0'),
        (['--side', '--queries', '--classes', '--batch'], 'no axis is left'),
    ],
)
def test_refusals_of_scaling(arguments, message, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        call_tool('benchmark_scaling.py', *arguments, monkeypatch=monkeypatch, cwd=tmp_path)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_cuda_graphs_need_our_segmentor():
    with pytest.raises(UserError, match='its segmentor, EncoderDecoder, has no CUDA graphs'):
        Subject.of(load_config(TOYS[1]), cuda_graphs=True)
    subject = Subject.of(load_config(TOYS[0]), cuda_graphs=True)
    assert (subject.name, subject.has_cuda_graphs) == ('faseg_toy, CUDA graphs', True)
    assert not Subject.of(load_config(TOYS[0])).has_cuda_graphs


def test_config_without_a_head_of_ours(tmp_path):
    cfg = load_config(TOYS[0])
    del cfg.model.decode_head['pixel_decoder']
    with pytest.raises(UserError, match='has no model with a backbone and a decode_head'):
        Subject.of(cfg)
