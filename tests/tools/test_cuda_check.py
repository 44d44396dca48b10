"""The check of the CUDA path: its steps, its time limit, going on, and its report.

What the steps call is faked, but for one test of everything that needs no GPU.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.helpers.tools import call_tool
from tools.benchmarks.cuda_check import command, process, steps
from tools.benchmarks.cuda_check.process import Ended

FIRST = 'benchmark/float32-batch1'
TRAINED = 'training/faseg_r18_camvid-seed0'


# --- a command for a limited time


def is_over(pid: int) -> bool:
    """Whether a process has ended, or does so within a minute; a zombie has."""
    for _ in range(600):
        try:
            if Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z':
                return True
        except OSError:
            return True
        time.sleep(0.1)
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
def quick_ending(monkeypatch):
    monkeypatch.setattr(process, 'ENDING_SECONDS', 0.5)


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='needs /proc')
@pytest.mark.parametrize('how', ['limit', 'Ctrl-C'])
def test_nothing_is_left_of_a_command_that_is_stopped(how, tmp_path, quick_ending, monkeypatch):
    log = tmp_path / 'logs' / 'log'
    wait = subprocess.Popen.wait

    def wait_for_pids(self, timeout=None):
        monkeypatch.setattr(subprocess.Popen, 'wait', wait)  # this once
        while len(log.read_text().split()) < 2:
            time.sleep(0.05)
        if how == 'Ctrl-C':
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, 'wait', wait_for_pids)
    ended = process.run([sys.executable, '-c', STUBBORN], log, 0.1, tmp_path, {})
    assert ended.code is None
    assert ended.interrupted == (how == 'Ctrl-C')
    assert all(is_over(int(pid)) for pid in log.read_text().split())


def test_children_of_a_command_that_ended_are_not_left_either(tmp_path, quick_ending):
    code = (
        'import subprocess, sys\n'
        'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])\n'
        'print(child.pid)\n'
    )
    ended = process.run([sys.executable, '-c', code], tmp_path / 'log', 60, tmp_path, {})
    assert ended.code == 0
    assert is_over(int(ended.last_line))


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
        codes: Exit status, or 'Ctrl-C', of commands that contain a word; None is a stop.
        takes: Seconds of each command, on the faked clock.
    """

    def __init__(self):
        self.commands, self.codes, self.takes, self.now = [], {}, 10, 1000.0

    def __call__(self, command, log, seconds, cwd, environment):
        words = [str(word) for word in command[1:]]
        self.commands.append(' '.join(words))
        code = next((code for key, code in self.codes.items() if key in self.commands[-1]), 0)
        took = seconds if code is None else min(self.takes, seconds)
        self.now += took
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('F.\n=== short test summary info ===\nFAILED test_a\n1 failed, 1 passed\n')
        if code in (0, None):
            self.write(words)
        interrupted = code == 'Ctrl-C'
        return Ended(None if interrupted else code, took, 'last line', interrupted)

    def write(self, words):
        option = '--out' if '--out' in words else '--work-dir'
        folder = Path(words[words.index(option) + 1]) if option in words else None
        if words[0].endswith('benchmark.py'):
            folder.mkdir(parents=True)
            row = dict(task='iteration', seconds=[[0.2, 0.1, 0.3], [0.4]])
            (folder / 'benchmark.json').write_text(json.dumps(dict(rows=[row])))
            (folder / 'benchmark.md').write_text('RATIOS\n')
        elif words[0].endswith('benchmark_loading.py'):
            folder.mkdir(parents=True)
            (folder / 'loading.md').write_text('RATES\n')
        elif words[0].endswith('train.py'):
            (folder / 'last_checkpoint').write_text(str(folder / 'iter_40.pth'))
        elif words[0].endswith('test.py'):
            (folder / 'time').mkdir(parents=True)
            (folder / 'time' / 'time.json').write_text('{"mIoU": 12.5}')

    def ran(self, word):
        return [command for command in self.commands if word in command]


FACTS = dict(GPU='NVIDIA A', PyTorch='2.11')


@pytest.fixture
def tools(monkeypatch):
    """A machine with a GPU and the data, on which nothing runs."""
    tools = Tools()
    monkeypatch.setattr(steps, 'run', tools)
    monkeypatch.setattr(command, 'check_driver', lambda: None)
    monkeypatch.setattr(command, 'check_training_data', lambda _: None)
    monkeypatch.setattr(command, 'time', SimpleNamespace(monotonic=lambda: tools.now))

    class Here:
        """In place of another process."""

        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, device):
            return SimpleNamespace(result=lambda: (FACTS, ['a note']))

    monkeypatch.setattr(command, 'ProcessPoolExecutor', Here)
    return tools


@pytest.fixture
def check(tools, monkeypatch, tmp_path):
    """Runs the command; returns all steps' results and the report."""

    def call(*arguments):
        call_tool(
            *('cuda_check.py', '--out', 'out', *arguments), monkeypatch=monkeypatch, cwd=tmp_path
        )
        return results()

    def results():
        out = tmp_path / 'out'
        found = json.loads((out / 'cuda_check.json').read_text())
        return found['steps'], (out / 'cuda_check.md').read_text()

    call.results = results
    return call


ALL = ('--limit', 600)


def test_every_step_runs_and_is_reported(check):
    results, report = check(*ALL)
    # all precisions and numbers of images, CUDA graphs in two, and the models that are trained
    assert sum(name.startswith('benchmark/') for name in results) == 4 * 3 + 2 + 1
    assert {'tests', 'loading', TRAINED} <= results.keys()
    assert {result['status'] for result in results.values()} == {'finished'}
    assert report.startswith('# CUDA check: NVIDIA A\n')
    for expected in ('a note', f'## {FIRST}\n\nRATIOS', '## loading\n\nRATES', '12.50 after 40 of'):
        assert expected in report


def test_the_most_important_comes_first(check):
    """Something of each kind before the rest of the benchmark."""
    names = list(check(*ALL)[0])
    assert names[:3] == ['tests', FIRST, 'benchmark/float16-batch1']
    assert names.index('training/mask2former_r18_camvid-seed0') < names.index('loading')
    assert names.index('loading') < names.index('benchmark/float32-batch8')


def test_what_the_tools_are_asked_for(check, tools, tmp_path):
    check(*ALL, '--data-root', tmp_path)
    (asked,) = tools.ran('--precision float16 --batch 8')
    assert '--size 512 1024x2048 --tasks predict segmentor iteration' in asked
    assert '--device cuda' in asked
    assert all('--tasks segmentor' in asked for asked in tools.ran('model.cuda_graphs=True'))
    (loading,) = tools.ran('benchmark_loading.py')
    assert '--consumes 10.0' in loading  # 2 images in a median of 0.2 s
    assert f'data_root={tmp_path}' in loading
    assert '-m cuda' in tools.commands[0]
    config = tmp_path / 'out' / TRAINED / 'config.py'
    assert 'TimeLimitHook' in config.read_text() and f"'{tmp_path}'" in config.read_text()


def test_failed_tests_are_named(check, tools):
    tools.codes = {'pytest': 1}
    results, report = check(*ALL)
    assert results['tests']['status'] == 'failed'
    assert 'FAILED test_a\n1 failed, 1 passed' in report


def test_a_second_call_does_only_what_is_left(check, tools):
    tools.codes = {'benchmark_loading.py': 1, '--batch 8': None}
    check(*ALL)
    tools.commands.clear()
    tools.codes = {}
    results, _ = check(*ALL)
    assert len(tools.ran('--batch 8')) == 4 and len(tools.ran('benchmark_loading.py')) == 1
    assert len(tools.commands) == 5
    assert {result['status'] for result in results.values()} == {'finished'}


def test_training_is_begun_only_if_it_can_be_completed(check, tools):
    """And goes on from its checkpoint where it was interrupted."""
    skip = ('--skip', 'tests', 'benchmark', 'loading')
    tools.takes = 10**6  # all that they may
    check('--limit', 20, '--train-minutes', 10, *skip)
    assert len(tools.ran('tools/train.py')) == 1
    check('--limit', 20, '--train-minutes', 10, *skip)
    assert len(tools.ran('tools/train.py')) == 2
    assert all('--resume' in asked for asked in tools.ran('tools/train.py'))
    assert len(tools.ran('mask2former_r18_camvid')) == 2  # trained and tested


def test_all_ends_within_the_limit(check, tools):
    tools.codes = {'': None}  # nothing ends by itself
    start = tools.now
    results, _ = check('--limit', 30)
    assert tools.now - start <= 30 * 60
    assert results['tests']['status'] == 'stopped'  # at its own limit
    assert list(results.values())[-1]['status'] == 'unfinished'
    assert len(results) < 10


def test_results_are_kept_when_a_step_is_interrupted(check, tools):
    tools.codes = {'--precision float16': 'Ctrl-C'}
    with pytest.raises(SystemExit) as end:
        check(*ALL)
    assert end.value.code == 130
    results, report = check.results()
    assert results[FIRST]['status'] == 'finished'
    assert results['benchmark/float16-batch1']['status'] == 'unfinished'
    assert 'interrupted' not in json.dumps(results)
    assert 'benchmark/float16-batch1 | unfinished' in report


def test_a_failed_step_is_named_with_its_last_line_and_the_others_run(check, tools):
    tools.codes = {'tools/train.py': 1}
    results, report = check(*ALL)
    assert f'| {TRAINED} | failed |' in report
    assert 'exit status 1: last line' in report
    assert results['loading']['status'] == 'finished'


# --- refusals


@pytest.mark.parametrize('change', [dict(GPU='NVIDIA B'), dict(PyTorch='2.12')])
def test_results_that_do_not_belong_together(check, monkeypatch, capsys, change):
    skip = ('--skip', 'benchmark', 'loading', 'training')
    check(*skip)
    monkeypatch.setitem(FACTS, *change.popitem())
    with pytest.raises(SystemExit):
        check(*skip)
    assert 'give another --out' in capsys.readouterr().err


@pytest.mark.parametrize('text', ['{', '[]', '{}'])
def test_a_folder_with_something_else(check, tmp_path, capsys, text):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'cuda_check.json').write_text(text)
    with pytest.raises(SystemExit):
        check()
    assert 'give another --out' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--device', 'tpu'), '--device must be cuda or cpu, got tpu'),
        (('--limit', 0), '--limit must be a number above 0, got 0'),
        (('--train-minutes', -1), '--train-minutes must be a number above 0'),
        (('--seeds', 0, -1), '--seeds must be at least 0, got -1'),
        (('--skip', 'trainig'), '--skip takes tests, benchmark, loading, training, got trainig'),
        (('--data-root', 'nowhere'), '--data-root: there is no folder'),
        (('--out', '/dev/null/out'), '--out: no folder can be made'),
        pytest.param(
            *((), 'CUDA'),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU'),
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.delattr(command, 'load_config')
    with pytest.raises(SystemExit) as ended:
        call_tool(
            'cuda_check.py', '--out', 'out', *arguments, monkeypatch=monkeypatch, cwd=tmp_path
        )
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_missing_data_are_found_before_anything_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(command, 'check_driver', lambda: None)
    monkeypatch.delattr(command, 'begin')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SystemExit) as ended:
        call_tool('cuda_check.py', '--data-root', 'empty', monkeypatch=monkeypatch, cwd=tmp_path)
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert 'or --skip loading training' in error and error.count('\n') == 1


# --- for real


@pytest.mark.subprocess
def test_dry_run_on_a_cpu(tmp_path, write_config, monkeypatch):
    """Training stopped by time, evaluation and benchmark, for real."""
    configs = tuple(
        str(write_config(tmp_path / f'{name}.py', 'train_cfg.update(max_iters=10**6)'))
        for name in ('faseg_tiny', 'mask2former_tiny')
    )
    dry = steps.MODELS['cpu']._replace(training=configs, batches=(), crop=64)
    monkeypatch.setitem(steps.MODELS, 'cpu', dry)
    call_tool(
        *('cuda_check.py', '--device', 'cpu', '--train-minutes', 0.1, '--skip', 'tests', 'loading'),
        *('--out', tmp_path / 'out'),
        monkeypatch=monkeypatch,
        cwd=tmp_path,
    )
    report = (tmp_path / 'out' / 'cuda_check.md').read_text()
    assert report.startswith('# Dry run on a CPU')
    results = json.loads((tmp_path / 'out' / 'cuda_check.json').read_text())['steps']
    assert {result['status'] for result in results.values()} == {'finished'}, results
    trained = results['training/faseg_tiny-seed0']
    assert trained['iteration'] > 1 and 0 <= trained['mIoU'] <= 100
    assert f'{trained["iteration"]} of 1000000 iterations' in report
    assert '| training iteration | 64 x 64 |' in results['benchmark/trained']['markdown']
