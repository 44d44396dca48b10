"""The check of the CUDA path: its steps, its time limit, going on, and its report.

What the steps call is faked, but for a slow test of everything that needs no GPU.
"""

import copy
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmseg_faseg.apis import UserError, load_config
from mmseg_faseg.cuda_check import (
    Settings,
    check,
    process,
    schedule,
    settings,
    step,
    suite,
    training,
)
from mmseg_faseg.cuda_check.benchmarks import Cell
from mmseg_faseg.cuda_check.process import Ended
from mmseg_faseg.cuda_check.targets import target_section
from tests.helpers.tools import REPOSITORY, call_tool

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
CLASS_TABLE = '\n+---+\n| Class | IoU | Acc |\n| sky | {iou} | 99.0 |\n| a pole | nan | nan |\n'


# --- a command for a limited time


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


STUBBORN = """
import os, signal, subprocess, sys, time
for ending in (signal.SIGINT, signal.SIGTERM):
    signal.signal(ending, signal.SIG_IGN)  # the child inherits it
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])
print(os.getpid(), child.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def quick_endings(monkeypatch):
    *polite, last = process._ENDINGS
    monkeypatch.setattr(process, '_ENDINGS', [*((ending, 0.3) for ending, _ in polite), last])


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='needs /proc')
@pytest.mark.parametrize('how', ['limit', 'Ctrl-C'])
def test_nothing_is_left_of_a_command_that_is_stopped(how, tmp_path, quick_endings, monkeypatch):
    log = tmp_path / 'logs' / 'log'
    wait = subprocess.Popen.wait

    def wait_for_pids(self, timeout=None):
        while len(log.read_text().split()) < 2:
            time.sleep(0.05)
        if how == 'Ctrl-C':
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, 'wait', wait_for_pids)
    ended = process.run([sys.executable, '-c', STUBBORN], log, 0.1, tmp_path, {})
    assert ended.code is None
    assert ended.interrupted == (how == 'Ctrl-C')
    assert not any(is_alive(int(pid)) for pid in log.read_text().split())


def test_children_of_a_command_that_ended_are_not_left_either(tmp_path, quick_endings):
    code = (
        'import subprocess, sys\n'
        'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])\n'
        'print(child.pid)\n'
    )
    ended = process.run([sys.executable, '-c', code], tmp_path / 'log', 60, tmp_path, {})
    assert ended.code == 0
    assert not is_alive(int(ended.last_line))


def test_what_a_command_printed_last(tmp_path):
    code = 'import os, sys; print(os.environ["X"]); sys.stderr.write("no\\n\\n"); sys.exit(3)'
    ended = process.run([sys.executable, '-c', code], tmp_path / 'log', 60, tmp_path, {'X': 'x'})
    assert (ended.code, ended.last_line) == (3, 'no')
    assert 'x' in (tmp_path / 'log').read_text()


# --- all steps


class Tools:
    """In place of the tools: writes what they write, and keeps what was asked of them.

    Attributes:
        commands: What ran, as strings.
        codes: Exit status, or exception, of commands that contain a word; None is a stop.
        takes: Seconds of each command, on the faked clock.
    """

    def __init__(self, clock):
        self.commands, self.codes, self.takes, self.clock = [], {}, 10, clock
        self.progress = {}

    def __call__(self, command, log, seconds, cwd, environment):
        words = [str(word) for word in command[1:]]
        self.commands.append(' '.join(words))
        code = next((code for key, code in self.codes.items() if key in self.commands[-1]), 0)
        took = seconds if code is None else min(self.takes, seconds)
        self.clock.now += took
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('last line')
        if code in (0, None):
            self.write(words, log)
        interrupted = code == 'Ctrl-C'
        return Ended(None if interrupted else code, took, 'last line', interrupted)

    def write(self, words, log):
        out = Path(words[words.index('--out') + 1]) if '--out' in words else None
        if 'pytest' in words:
            file = Path(words[-1].partition('=')[2])
            file.write_text('<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>')
        elif words[0].endswith('benchmark.py'):
            out.mkdir(parents=True)
            row = dict(task='iteration', names=['A', 'B'], precisions=['float32'] * 2)
            row |= dict(seconds=[[0.2, 0.1, 0.3], [0.4]], memory=[2**20, 2**21])
            rows = [row | dict(task=task) for task in ('predict', 'iteration')]
            (out / 'benchmark.json').write_text(json.dumps(dict(rows=rows)))
        elif words[0].endswith('benchmark_loading.py'):
            out.mkdir(parents=True)
            (out / 'loading.json').write_text('{"bottleneck": "model"}')
            (out / 'loading.md').write_text('LOADING\n')
        elif words[0].endswith('train.py'):
            folder = Path(words[words.index('--work-dir') + 1])
            iteration = self.progress[folder.name] = self.progress.get(folder.name, 0) + 40
            (folder / f'iter_{iteration}.pth').touch()
            (folder / 'last_checkpoint').write_text(str(folder / f'iter_{iteration}.pth'))
        elif words[0].endswith('test.py'):
            folder = Path(words[words.index('--work-dir') + 1], 'time')
            folder.mkdir(parents=True)
            (folder / 'time.json').write_text('{"mIoU": 12.5}')
            log.write_text(CLASS_TABLE.format(iou=12.5))

    def ran(self, word):
        return [command for command in self.commands if word in command]


class Clock:
    now = 1000.0


ENVIRONMENT = dict(
    facts={'GPU 0': 'NVIDIA A'},
    notes=['a note'],
    identity=dict(PyTorch='2.11', device='NVIDIA A'),
    deformable={'FASeg': 'mmcv', 'Mask2Former': 'mmcv'},
)


@pytest.fixture(scope='module')
def read_once():
    """``load_config``, which takes a second, once for each config and its options."""
    known = {}

    def read(name, options):
        key = name, str(options)
        if key not in known:
            known[key] = load_config(name, options)
        return copy.deepcopy(known[key])

    return read


@pytest.fixture
def tools(monkeypatch, read_once):
    clock = Clock()
    monkeypatch.setattr(training, 'load_config', read_once)
    tools = Tools(clock)
    monkeypatch.setattr(step, 'run', tools)
    monkeypatch.setattr(schedule, 'describe_apart', lambda device: ENVIRONMENT)
    monkeypatch.setattr(schedule, 'time', SimpleNamespace(monotonic=lambda: clock.now))
    return tools


@pytest.fixture
def make(tmp_path):
    """Settings of a check on a GPU."""

    def settings(**changes):
        return Settings(**dict(root=REPOSITORY, out=tmp_path / 'out', command='cmd') | changes)

    return settings


def results(settings):
    return json.loads((settings.out / 'cuda_check.json').read_text())


def test_every_step_runs_and_is_reported(tools, make):
    settings = make(limit=600)
    report = check(settings).read_text()
    steps = results(settings)['steps']
    # all combinations, and CUDA graphs at two sizes in two precisions
    assert sum(name.startswith('benchmark/') for name in steps) == 4 * 3 * 2 + 4 + 1
    assert {'tests', 'loading', 'training/faseg_r18_camvid-seed0'} <= steps.keys()
    assert all(
        result['status'] == 'finished'
        for name, result in steps.items()
        if not name.startswith('training')
    )
    assert report.startswith('# CUDA check: NVIDIA A\n')
    for expected in ('a note', 'LOADING', '| sky | 12.50 | 12.50 |', '| a pole |  |  |', '40 of'):
        assert expected in report
    assert (settings.out / 'cuda_check.md').read_text() == report


def test_the_most_important_comes_first(tools, make):
    """The targets' rows, and something of each kind before the rest of the benchmark."""
    settings = make(limit=600)
    check(settings)
    names = list(results(settings)['steps'])
    assert names[1] == Cell('float32', 1, '512').name
    assert names.index(Cell('float16', 1, '512').name) < names.index('loading')
    training_ends = names.index('training/mask2former_r18_camvid-seed0')
    assert training_ends < names.index(Cell('float32', 8, '1024x2048').name)


def test_what_the_tools_are_asked_for(tools, make, tmp_path):
    check(make(limit=600, data_root=str(tmp_path)))
    (command,) = tools.ran('--precision float16 --batch 8 --size 1024x2048')
    assert 'predict segmentor iteration' in command and '--device cuda' in command
    graphs = tools.ran('--cuda-graphs')
    assert all('--batch 1' in command and 'iteration' not in command for command in graphs)
    (loading,) = tools.ran('benchmark_loading.py')
    assert '--consumes 10.0' in loading  # 2 images in a median of 0.2 s
    assert f'data_root={tmp_path}' in loading
    assert '-m cuda' in tools.commands[0]


def test_a_second_call_does_only_what_is_left(tools, make):
    tools.codes = {'benchmark_loading.py': 1, '--batch 8 --size 512': None}
    check(make(limit=600))
    tools.commands.clear()
    tools.codes = {}
    settings = make(limit=600)
    check(settings)
    assert len(tools.ran('--batch 8 --size 512')) == 4
    assert len(tools.ran('benchmark_loading.py')) == 1
    assert not tools.ran('-m pytest') and not tools.ran('--batch 2 --size 512')
    assert all(result['status'] == 'finished' for result in results(settings)['steps'].values())
    assert len(results(settings)['commands']) == 2


def test_training_goes_on_until_its_minutes_are_over(tools, make):
    settings = make(limit=600, skip=('tests', 'benchmark', 'loading'), train_minutes=10)
    check(settings)
    assert len(tools.ran('tools/train.py')) == 2
    written = settings.out / 'training' / 'faseg_r18_camvid-seed0' / 'config.py'
    assert 'TimeLimitHook' in written.read_text()
    check(settings)
    assert len(tools.commands) == 4  # two trained, two tested, and nothing twice
    check(settings._replace(train_minutes=15))  # five more
    assert len(tools.ran('tools/train.py')) == 4
    result = results(settings)['steps']['training/faseg_r18_camvid-seed0']
    assert (result['iteration'], result['minutes']) == (80, 15)
    assert all('--resume' in command for command in tools.ran('tools/train.py'))


def test_models_share_what_is_left_evenly(tools, make):
    tools.takes = 10**6
    settings = make(limit=16, skip=('tests', 'benchmark', 'loading'), train_minutes=10)
    check(settings)
    steps = results(settings)['steps']
    minutes = [result['minutes'] for result in steps.values()]
    assert len(minutes) == 2 and 3 < minutes[0] == pytest.approx(minutes[1], abs=0.5)
    assert all(result['status'] == 'unfinished' for result in steps.values())


def test_training_to_the_end_of_its_schedule(tools, make):
    settings = make(limit=600, skip=('tests', 'benchmark', 'loading'), iterations=40)
    check(settings)
    check(settings)
    assert len(tools.ran('tools/train.py')) == 2
    assert '40 of 40' in (settings.out / 'cuda_check.md').read_text()


def test_a_further_seed_is_begun_only_if_time_allows(tools, make):
    tools.takes = 10**6  # all that they may
    # after the first, there is time for one model of the second, but not for both
    settings = make(limit=45, skip=('tests', 'benchmark', 'loading'), seeds=(0, 1))
    check(settings)
    assert not tools.ran('seed1')
    check(settings)
    assert len([c for c in tools.ran('tools/train.py') if 'seed1' in c]) == 2
    assert 'of 2 seeds: FASeg 12.50 ± 0.00' in (settings.out / 'cuda_check.md').read_text()


def test_all_ends_within_the_limit(tools, make):
    tools.codes = {'': None}  # nothing ends by itself
    start = tools.clock.now
    settings = make(limit=30)
    check(settings)
    assert tools.clock.now - start <= 30 * 60
    steps = results(settings)['steps']
    assert steps['tests']['status'] == 'stopped'  # at its own limit
    assert list(steps.values())[-1]['status'] == 'unfinished'
    assert len(steps) < 10


def test_results_are_kept_when_a_step_is_interrupted(tools, make):
    tools.codes = {'--precision float16': 'Ctrl-C'}
    settings = make(limit=600)
    with pytest.raises(KeyboardInterrupt):
        check(settings)
    steps = results(settings)['steps']
    assert steps[Cell('float32', 1, '512').name]['status'] == 'finished'
    assert steps[Cell('float16', 1, '512').name]['status'] == 'unfinished'
    assert 'interrupted' not in json.dumps(steps)
    assert (
        'benchmark/float16-batch1-512 | unfinished' in (settings.out / 'cuda_check.md').read_text()
    )


def test_a_failed_step_is_named_with_its_last_line_and_the_others_run(tools, make):
    tools.codes = {'tools/train.py': 1}
    settings = make(limit=600)
    report = check(settings).read_text()
    assert '| training/faseg_r18_camvid-seed0 | failed |' in report
    assert 'exit status 1: last line' in report
    assert 'Not trained and evaluated.' in report
    assert results(settings)['steps']['loading']['status'] == 'finished'


@pytest.mark.parametrize(
    ('environment', 'changes', 'named'),
    [
        (dict(identity=dict(PyTorch='2.11', device='NVIDIA B')), {}, "device 'NVIDIA A'"),
        (dict(identity=dict(PyTorch='2.12', device='NVIDIA A')), {}, "PyTorch '2.11'"),
        ({}, dict(iterations=100), 'iterations None'),
    ],
)
def test_results_that_do_not_belong_together(tools, make, monkeypatch, environment, changes, named):
    skip = ('benchmark', 'loading', 'training')
    check(make(skip=skip))
    other = ENVIRONMENT | environment
    monkeypatch.setattr(schedule, 'describe_apart', lambda device: other)
    with pytest.raises(UserError, match=f'{named}.*another --out'):
        check(make(skip=skip, **changes))


@pytest.mark.parametrize('text', ['{', '[]', '{}'])
def test_a_folder_with_something_else(tools, make, tmp_path, text):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'cuda_check.json').write_text(text)
    with pytest.raises(UserError, match='another --out'):
        check(make())


# --- parts of the report


def steps_with(seconds, memory, **cell):
    row = dict(task='predict', seconds=seconds, memory=memory)
    return {Cell(**cell).name: dict(rows=[row])}


def test_targets():
    steps = steps_with([[7, 1, 99], [10]], [86, 100], precision='float32', batch=1, size='512')
    steps |= steps_with([[8.1], [10]], [85, 100], precision='float32', batch=1, size='1024x2048')
    steps[Cell('float16', 1, '512').name] = dict(rows=[dict(task='predict', skipped='too large')])
    lines = target_section(steps, ('float32', 'float16'), {'FASeg': 'mmcv'}).splitlines()
    cells = {line.split(' | ')[0]: line.split(' | ')[1:] for line in lines}
    assert cells['| head, inference, time, 512, batch 1'] == [
        '0.7',
        '0.70, reached',
        'not measured |',
    ]
    assert cells['| head, inference, peak memory, 512, batch 1'][1] == '0.86, missed'
    assert cells['| head, inference, time, 1024x2048, batch 1'][1] == '0.81, missed'
    assert cells['| head, inference, peak memory, 1024x2048, batch 1'][1] == '0.85, reached'
    assert cells['| training iteration, time, 512, batch 2'][1] == 'not measured'


def test_counts_of_tests(tmp_path):
    (tmp_path / 'test_some.py').write_text(
        'import pytest\n'
        'def test_well(): pass\n'
        'def test_ill(): assert False\n'
        '@pytest.fixture\n'
        'def broken(): raise ValueError\n'
        'def test_broken(broken): pass\n'
        '@pytest.mark.skip(reason="needs a GPU")\n'
        'def test_gpu(): pass\n'
    )
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-q',
        '--junitxml=tests.xml',
        '-p',
        'no:cacheprovider',
    ]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    counts = suite.counts(tmp_path / 'tests.xml')
    assert counts == dict(
        passed=1,
        failed=['test_some::test_ill', 'test_some::test_broken'],
        skipped=1,
        reasons={'needs a GPU': 1},
    )
    section = suite.suite_section({'tests': counts | dict(status='finished')})
    assert '| 1 | 2 | 1 |' in section and '- failed: `test_some::test_ill`' in section


def test_that_no_test_ran_is_said():
    counts = dict(passed=0, failed=[], skipped=3, reasons={'needs a GPU': 3}, status='finished')
    assert 'No test ran' in suite.suite_section({'tests': counts})


# --- the command


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--device', 'tpu'), '--device must be cuda or cpu, got tpu'),
        (('--limit', 0), '--limit must be more than 0, got 0'),
        (('--train-minutes', -1), '--train-minutes must be more than 0'),
        (('--iterations', 0), '--iterations must be at least 1'),
        (('--seeds', 0, -1), '--seeds must be at least 0, got -1'),
        (('--skip', 'trainig'), '--skip takes tests, benchmark, loading, training, got trainig'),
        (('--data-root', 'nowhere'), '--data-root: there is no folder'),
        pytest.param((), 'error: ', marks=no_gpu),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, tmp_path, monkeypatch, capfd):
    with pytest.raises(SystemExit) as ended:
        call_tool(
            'cuda_check.py', *arguments, '--out', 'out', monkeypatch=monkeypatch, cwd=tmp_path
        )
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.subprocess
def test_dry_run_on_a_cpu(tmp_path, write_config, monkeypatch):
    """Training stopped by time, evaluation and benchmark, for real."""
    configs = tuple(
        str(write_config(tmp_path / f'{name}.py', 'train_cfg.update(max_iters=10**6)'))
        for name in ('faseg_tiny', 'mask2former_tiny')
    )
    dry = settings.SUBJECTS['cpu']._replace(training=configs, batches=())
    monkeypatch.setitem(settings.SUBJECTS, 'cpu', dry._replace(crop=64))
    monkeypatch.setattr(training, '_START', 600)  # a test has no limit
    monkeypatch.setattr(training, '_EVALUATION', 600)
    asked = Settings(
        REPOSITORY, tmp_path / 'out', 'cmd', 'cpu', train_minutes=0.1, skip=('tests', 'loading')
    )
    report = check(asked).read_text()
    assert report.startswith('# Dry run on a CPU')
    steps = results(asked)['steps']
    assert {result['status'] for result in steps.values()} == {'finished'}, steps
    trained = steps['training/faseg_tiny-seed0']
    assert trained['iteration'] > 1 and trained['of'] == 10**6
    assert list(trained['classes']) == ['dark', 'grey', 'bright']
    assert trained['mIoU'] == pytest.approx(sum(trained['classes'].values()) / 3, abs=0.02)
    (row,) = steps['benchmark/trained']['rows']
    assert row['task'] == 'iteration' and len(row['seconds']) == 2


# --- the hook


def test_training_stops_in_time_and_resumes(write_config, tmp_path, monkeypatch):
    hook = "custom_hooks = [dict(type='TimeLimitHook', minutes={})]"
    config = write_config(tmp_path / 'tiny.py', hook.format(1e-6))
    call_tool('train.py', config, cwd=tmp_path, monkeypatch=monkeypatch)
    work_dir = tmp_path / 'work_dirs' / 'tiny'
    assert sorted(file.name for file in work_dir.glob('*.pth')) == ['iter_1.pth']
    assert (work_dir / 'last_checkpoint').read_text().endswith('iter_1.pth')
    write_config(config, hook.format(60))
    call_tool('train.py', config, '--resume', cwd=tmp_path, monkeypatch=monkeypatch)
    logs = [file.read_text() for file in work_dir.glob('*/*.log')]
    assert any('resumed epoch: 0, iter: 1' in log for log in logs)
    assert (work_dir / 'iter_4.pth').is_file()


@pytest.mark.parametrize('minutes', [0, -1])
def test_minutes_of_the_hook(minutes):
    from mmseg_faseg.engine import TimeLimitHook

    with pytest.raises(ValueError, match=f'minutes must be more than 0, got {minutes}'):
        TimeLimitHook(minutes)


def test_the_hook_needs_checkpoints_by_iteration(write_config, tmp_path, monkeypatch):
    more = (
        "custom_hooks = [dict(type='TimeLimitHook', minutes=1)]\n"
        "default_hooks['checkpoint'] = dict(type='CheckpointHook', by_epoch=True)"
    )
    config = write_config(tmp_path / 'tiny.py', more)
    with pytest.raises(ValueError, match='by_epoch=False'):
        call_tool('train.py', config, cwd=tmp_path, monkeypatch=monkeypatch)
