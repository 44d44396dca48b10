"""Speed and scaling: what is measured is what the tables say, and what is refused.

The rate of matrix products, memory and FLOPs are made up but where they are tested themselves.
"""

import json
import os
import statistics
import subprocess
import sys

import pytest
import torch
from torch.utils._pytree import tree_leaves

from mmseg_faseg.apis import UserError
from mmseg_faseg.apis.complexity import Complexity, Part
from tests.helpers.live_tensors import LiveTensors
from tests.helpers.tools import REPOSITORY, call_tool
from tools.benchmarks import measure, memory, models, scaling, speed, speed_tables
from tools.benchmarks.models import PRECISIONS, measured_model
from tools.benchmarks.samples import label_maps, panoptic_sample
from tools.benchmarks.tasks import TASKS

SEMANTIC = [name for name in TASKS if name not in ('detector', 'merging')]
DETECTORS = [
    f'mmseg_faseg::{method}_toy-panoptic.py'
    for method in ('faseg', 'mask2former', 'panoptic-segformer')
]
TOYS = ('mmseg_faseg::faseg_toy.py', 'mmseg_faseg::mask2former_toy.py')
SIZE = (64, 96)
MIB = 2**20
linux = pytest.mark.skipif(not memory.can_measure('cpu'), reason='no /proc/self/clear_refs')


@pytest.fixture(scope='module')
def pair():
    """Both toy models, by what it takes to build them, and built."""
    measured = [measured_model(name, classes=5, queries=7) for name in TOYS]
    return [(own, own.build('cpu')) for own in measured]


@pytest.fixture
def machine(monkeypatch):
    """Memory of the first model asked for is 3 MiB, of the next 6, 9, ...; 1000 FLOPs a pixel."""
    asked = []

    def task_memory(measured, task, *_):
        asked.append(measured.name)
        return 3 * MIB * len(asked)

    def complexity_of(cfg, size):
        pixels = size[0] * size[1]  # 200 of them in the backbone
        return Complexity(1, 1, 1000 * pixels, dict(backbone=Part(1, 1, 200 * pixels)))

    monkeypatch.setattr(speed, 'task_memory', task_memory)
    monkeypatch.setattr(speed, 'complexity_of', complexity_of)
    monkeypatch.setattr(speed, 'matrix_rate', lambda *_: 1e9)
    yield asked
    torch.set_num_threads(1)


@pytest.fixture
def benchmark(machine, monkeypatch, tmp_path):
    """Runs the command on the toy models; returns what it wrote, as JSON and as text."""

    def run(*arguments, size='64x96'):
        call_tool(
            *('benchmark.py', *TOYS, '--size', size, '--threads', 1, '--repeats', 1),
            *('--classes', 5, '--out', 'out', *arguments),
            monkeypatch=monkeypatch,
            cwd=tmp_path,
        )
        return results()

    def results():
        folder = tmp_path / 'out'
        text = (folder / 'benchmark.md').read_text()
        return json.loads((folder / 'benchmark.json').read_text()), text

    run.results = results
    return run


# --- what is measured


def test_models_take_turns():
    order = []
    runs = [lambda: order.append('A'), lambda: order.append('B')]
    seconds = measure.take_turns(runs, 3)
    assert ''.join(order) == 'AB' + 'ABABAB'  # warm-up first
    assert [len(own) for own in seconds] == [3, 3]


def test_rate_of_matrix_products(monkeypatch):
    """The best of several, of the largest matrices that do not take long."""
    times = iter([9, 1, 2, 9, 1, 0.1])
    monkeypatch.setattr(measure, 'seconds_of', lambda *_: next(times))
    sizes = []
    monkeypatch.setattr(measure.F, 'linear', lambda a, b: sizes.append(len(a)))
    rate = measure.matrix_rate('cpu', torch.float32, repeats=3)
    assert sizes == [256]  # a larger product would take 64 times as long as a second
    assert rate == 2 * 256**3


@pytest.mark.subprocess
@linux
def test_a_known_allocation():
    """What is allocated and freed again within the run, and not what was there before."""
    code = f"""
import numpy as np
from tools.benchmarks.memory import peak_memory

before = np.ones({50 * MIB}, np.uint8)
np.ones({300 * MIB}, np.uint8)  # an earlier peak, which is none of this run's

def run():
    np.ones({200 * MIB}, np.uint8)
    np.ones({10 * MIB}, np.uint8)

print(peak_memory(run, 'cpu'))
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=os.environ | memory.ALLOCATOR | dict(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.splitlines()[-1]) == pytest.approx(200 * MIB, rel=0.05)


@pytest.mark.subprocess
@linux
def test_memory_of_a_task_is_that_of_its_tensors(pair):
    """Resident memory grows by the tensors that live at once, and little else."""
    (measured, model), size = pair[0], (384, 384)
    task = TASKS['predict'](measured, model)
    inputs = task.inputs(size, 1)
    with LiveTensors() as tensors:
        for param in model.parameters():  # they are there before
            tensors.alive[param.untyped_storage()._cdata] = 0
        task(inputs)
    got = memory.task_memory(measured, 'predict', size, 1, 'cpu', 1)
    assert 0.9 * tensors.peak < got < 1.4 * tensors.peak
    assert not {*memory.ALLOCATOR} & {*os.environ}


@pytest.mark.subprocess
@linux
def test_memory_of_training_includes_gradients(pair):
    """Those of the parameters too, which an earlier run has left behind."""
    measured, model = pair[0]
    params = [param for param in model.decode_head.parameters() if param.requires_grad]
    got = memory.task_memory(measured, 'train', (64, 64), 1, 'cpu', 1)
    assert got > sum(param.nbytes for param in params)


@pytest.mark.parametrize('name', SEMANTIC)
def test_both_models_get_the_same_inputs(name, pair):
    both = [TASKS[name](*own).inputs(SIZE, 2) for own in pair]
    tensors = [[x for x in tree_leaves(own) if torch.is_tensor(x)] for own in both]
    assert all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


@pytest.mark.parametrize('index', [0, 1])
def test_tasks_do_what_they_say(index, pair):
    measured, model = pair[index]
    predict, segmentor = (TASKS[name](measured, model) for name in ('predict', 'segmentor'))
    assert predict(predict.inputs(SIZE, 2)).shape == (2, 5, *SIZE)
    samples = segmentor(segmentor.inputs(SIZE, 2))
    assert [sample.pred_sem_seg.data.shape for sample in samples] == [(1, *SIZE)] * 2
    assert not any(param.grad is not None for param in model.parameters())

    train = TASKS['train'](measured, model)
    features, gradients = train.inputs(SIZE, 2)
    train((features, gradients))
    assert all(x.grad.abs().sum() > 0 for x in features)
    assert model.decode_head.cls_embed.weight.grad.abs().sum() > 0
    assert model.backbone.conv1.weight.grad is None

    before = model.backbone.conv1.weight.clone()
    iteration = TASKS['iteration'](measured, model)
    iteration(iteration.inputs(SIZE, 2))
    assert not torch.equal(before, model.backbone.conv1.weight)


@pytest.mark.parametrize('name', DETECTORS)
def test_tasks_of_detectors(name):
    measured = measured_model(name)
    speed.check_tasks(measured, ['detector', 'iteration'], 'cpu')
    model = measured.build('cpu')
    detector = TASKS['detector'](measured, model)
    for sample in detector(detector.inputs(SIZE, 2)):
        assert sample.pred_panoptic_seg.sem_seg.shape == (1, *SIZE)
    iteration = TASKS['iteration'](measured, model)
    inputs, samples = iteration.inputs(SIZE, 2)
    assert all(5 < len(sample.gt_instances) < 48 for sample in samples)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    iteration((inputs, samples))
    changed = {n for n, weight in model.named_parameters() if not torch.equal(before[n], weight)}
    assert 'backbone.layer4.1.conv2.weight' in changed


@pytest.mark.parametrize('name', DETECTORS[:2])
def test_merging_has_many_segments(name):
    measured = measured_model(name)
    merging = TASKS['merging'](measured, measured.build('cpu'))
    (sample,) = merging(merging.inputs(SIZE, 1))
    assert len(sample.pred_panoptic_seg.sem_seg.unique()) > 5
    assert len(sample.pred_instances.scores.nonzero()) > 5
    speed.check_tasks(measured, ['merging'], 'cpu')


def test_objects_are_the_segments_of_things():
    labels = label_maps(8, (60, 80), 1)[0]
    sample = panoptic_sample(labels, num_things=5)
    instances = sample.gt_instances
    masks = torch.from_numpy(instances.masks.masks).bool()
    assert (masks.sum(0) == (labels < 5)).all()
    for label, mask, box in zip(instances.labels, masks, instances.bboxes, strict=True):
        assert (labels[mask] == label).all()
        rows, columns = mask.nonzero().T
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert box.tolist() == [float(edge) for edge in edges]
    assert torch.equal(sample.gt_sem_seg.sem_seg[0], labels)


def test_label_maps_look_like_scenes():
    labels = label_maps(150, (128, 100), 2)
    assert labels.shape == (2, 128, 100)
    for label in labels:
        assert 10 <= len(label.unique()) <= 15
        assert (label[:, 1:] == label[:, :-1]).double().mean() > 0.9  # in segments


@pytest.mark.parametrize('name', SEMANTIC)
def test_forward_passes_run_in_the_precision(name, pair):
    (measured, model), seen = pair[0], []
    hook = model.decode_head.transformer_decoder.register_forward_pre_hook(
        lambda *_: seen.append(torch.is_autocast_enabled('cpu'))
    )
    with hook:
        for precision in ('bfloat16', 'float32'):
            task = TASKS[name](measured._replace(precision=precision), model)
            task(task.inputs(SIZE, 1))
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


@pytest.mark.parametrize('name', ['segmentor', 'iteration'])
def test_parts_add_up(name, pair):
    tasks = [TASKS[name](*own) for own in pair]
    inputs = [task.inputs(SIZE, 1) for task in tasks]
    for seconds in measure.seconds_by_part(tasks, inputs, 1):
        whole = seconds.pop('whole')
        assert sum(seconds.values()) == pytest.approx(whole)
        assert all(own > 0 for own in seconds.values())
        assert 'backward and step' in seconds or name == 'segmentor'
    assert not any(module._forward_hooks for _, model in pair for module in model.modules())


# --- the report


def test_report(benchmark):
    results, text = benchmark('--tasks', 'predict', 'segmentor', '--repeats', 3)
    assert speed_tables.markdown(results) == text
    predict, segmentor = results['rows']
    ratio = statistics.median(predict['seconds'][0]) / statistics.median(predict['seconds'][1])
    (line,) = (line for line in text.splitlines() if line.startswith('| head, features to class'))
    assert f' | {ratio:.2f} | 3 | 6 | 0.50 | ' in line
    pixels = SIZE[0] * SIZE[1]  # a multiply-add is two; the head's task has no backbone
    assert [predict['flops'][0], segmentor['flops'][0]] == [1600 * pixels, 2000 * pixels]
    share = 1600 * pixels / statistics.median(predict['seconds'][0]) / 1e9
    assert f' | {share:.0%} | ' in line
    assert [*segmentor['parts'][0]][0] == 'backbone' and 'parts' not in predict


def test_interrupted_run_leaves_what_it_had(benchmark, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TASKS['segmentor'], 'forward', interrupted)
    with pytest.raises(SystemExit) as end:
        benchmark('--tasks', 'predict', 'segmentor')
    assert end.value.code == 130
    results, text = benchmark.results()
    assert [row['task'] for row in results['rows']] == ['predict']
    assert 'features to class scores' in text
    assert 'interrupted; what there is so far: out/benchmark.md' in capsys.readouterr().err


def test_a_task_that_dies_is_a_row_like_others(benchmark, monkeypatch):
    def killed(measured, name, *_):
        if name == 'predict':
            raise memory.OutOfMemory(f'{measured.name} was killed')
        return MIB

    monkeypatch.setattr(speed, 'task_memory', killed)
    results, text = benchmark('--tasks', 'predict', 'train')
    assert 'not measured: faseg_toy was killed' in text
    assert 'seconds' not in results['rows'][0] and 'seconds' in results['rows'][1]


def test_where_linux_counts_nothing(benchmark, machine, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, '_CLEAR_REFS', tmp_path / 'missing' / 'clear_refs')
    _, text = benchmark('--tasks', 'predict')
    assert not machine
    assert ' |  |  |  | ' in text


def test_options_are_of_the_first_model_and_in_its_name(benchmark):
    option = 'model.decode_head.pixel_decoder.deformable_backend=grid_sample'
    results, _ = benchmark('--tasks', 'predict', '--cfg-options', option)
    assert results['names'] == ['faseg_toy, deformable_backend=grid_sample', 'mask2former_toy']


# --- growth


@pytest.fixture
def small_workloads(monkeypatch):
    base = scaling.Workload(side=64, queries=5, classes=3, batch=1)
    monkeypatch.setattr(scaling, 'BASE', base)


def scaled(*arguments, monkeypatch, tmp_path):
    call_tool(
        *('benchmark_scaling.py', *TOYS, '--queries', '--classes', '--repeats', 1, '--threads', 1),
        *('--out', 'out', *arguments),
        monkeypatch=monkeypatch,
        cwd=tmp_path,
    )
    return json.loads((tmp_path / 'out/scaling.json').read_text())['rows']


def test_scaling(small_workloads, machine, tmp_path, monkeypatch):
    arguments = ('--side', 64, 96, '--batch', 1, 2)
    rows = scaled(*arguments, monkeypatch=monkeypatch, tmp_path=tmp_path)
    assert len(rows) == 3  # the workload that both share is measured once
    flops = {(row['side'], row['batch']): row['flops'][1] for row in rows}
    assert flops[64, 2] == 2 * flops[64, 1] and flops[96, 1] == 2.25 * flops[64, 1]
    assert all(min(row['seconds']) > 0 for row in rows)
    assert [row['memory'] for row in rows] == [[3 * n * MIB, 3 * (n + 1) * MIB] for n in (1, 3, 5)]
    assert '| 96 | 5 | 3 | 1 | ' in (tmp_path / 'out/scaling.md').read_text()
    assert (tmp_path / 'out/scaling.png').stat().st_size > 10_000


def test_what_does_not_fit_is_left_out(small_workloads, machine, tmp_path, monkeypatch):
    def task_memory(measured, task, size, *_):
        raise memory.OutOfMemory('too much')

    monkeypatch.setattr(speed, 'task_memory', task_memory)
    arguments = ('--side', 64, 128, '--batch')
    rows = scaled(*arguments, monkeypatch=monkeypatch, tmp_path=tmp_path)
    assert [row['skipped'] for row in rows] == ['too much', 'a smaller one did not fit']
    assert 'left out: too much' in (tmp_path / 'out/scaling.md').read_text()


# --- refusals


@pytest.fixture
def refused(monkeypatch, tmp_path, capsys):
    """Calls a tool that refuses, and returns its only line; nothing was written."""

    def call(tool, *arguments):
        with pytest.raises(SystemExit) as end:
            call_tool(tool, *arguments, monkeypatch=monkeypatch, cwd=tmp_path)
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith('error: ')
        assert not list(tmp_path.iterdir())
        return line

    return call


@pytest.fixture
def unread(monkeypatch):
    """Reading a config fails."""

    def load_config(*_):
        raise AssertionError('a config is read')

    monkeypatch.setattr(models, 'load_config', load_config)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
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
        (['--out', '/dev/null/folder'], '--out: no folder can be made at /dev/null/folder'),
    ],
)
def test_arguments_are_checked_before_configs_are_read(arguments, message, refused, unread):
    assert message in refused('benchmark.py', *arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--task', 'train'], '--task must be predict or segmentor, got train'),
        (['--side', '8'], '--side must be at least 32, got 8 x 8'),
        (['--batch', '0'], '--batch must be at least 1, got 0'),
        (['--side', '--queries', '--classes', '--batch'], 'nothing is left to grow'),
        (['--out', '/dev/null/folder'], '--out: no folder can be made at /dev/null/folder'),
    ],
)
def test_arguments_of_scaling_too(arguments, message, refused, unread):
    assert message in refused('benchmark_scaling.py', *arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.py'], 'config missing.py'),
        (
            [TOYS[1], '--cfg-options', 'model.cuda_graphs=True'],
            "mask2former_toy.py: model: EncoderDecoder takes no 'cuda_graphs'",
        ),
        (
            [*TOYS, '--cfg-options', 'model.cuda_graphs=True'],
            'faseg_toy, cuda_graphs=True: model.cuda_graphs=True is for --device cuda',
        ),
        (
            [*TOYS, '--cfg-options', 'model.decode_head.pixel_decoder.deformable_backend=fast'],
            'deformable_backend must be',
        ),
        (
            [*TOYS, '--tasks', 'iteration', '--cfg-options', 'model.decode_head.train_cfg=None'],
            'task iteration: faseg_toy, train_cfg=None has no decode_head.train_cfg',
        ),
        (
            [*DETECTORS[:2], '--tasks', 'predict'],
            '--tasks for faseg_toy-panoptic must be of detector, merging, iteration, got predict',
        ),
        (
            [*TOYS, '--tasks', 'detector'],
            '--tasks for faseg_toy must be of predict, train, segmentor, iteration, got detector',
        ),
        (
            [DETECTORS[2], DETECTORS[2], '--tasks', 'merging'],
            '--tasks for panoptic-segformer_toy-panoptic must be of detector, iteration, got',
        ),
        (
            [*DETECTORS[:2], '--classes', '3'],
            '--classes is for semantic segmentation',
        ),
    ],
)
def test_configs_are_checked_before_anything_is_measured(arguments, message, refused, monkeypatch):
    monkeypatch.delattr(speed, 'matrix_rate')
    assert message in refused('benchmark.py', *arguments)


def test_config_without_a_head_of_ours(write_config, tmp_path):
    config = write_config(tmp_path / 'tiny.py', "model['decode_head'].pop('in_channels')")
    with pytest.raises(UserError, match='has no model with a backbone and a head like'):
        measured_model(str(config))


def test_graphs_are_for_the_segmentor_on_a_gpu():
    measured = measured_model(TOYS[0], {'model.cuda_graphs': True})
    speed.check_tasks(measured, ['segmentor'], 'cuda')
    for device, tasks in (('cpu', ['segmentor']), ('cuda', ['segmentor', 'predict'])):
        with pytest.raises(UserError, match='--device cuda --tasks segmentor'):
            speed.check_tasks(measured, tasks, device)


def test_a_folder_is_checked_and_not_made(tmp_path):
    from tools.benchmarks.results import check_folder

    check_folder(tmp_path / 'a' / 'b')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'a').touch()
    with pytest.raises(UserError, match='--work-dir: .*/a is a file'):
        check_folder(tmp_path / 'a' / 'b', '--work-dir')
