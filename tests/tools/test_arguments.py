"""The tools' arguments are read before anything is imported that takes seconds."""

import argparse
import sys

import pytest
from mmengine.config import DictAction

from mmseg_faseg.apis import UserError, load_config, parse_options
from tests.helpers.tools import REPOSITORY, call_tool, run

STOCK = ['mmseg_tool', 'mmdet_tool']  # which hand their arguments on
TOOLS = ['train', 'test', 'demo', 'get_flops', 'convert_weights', 'publish_model']
IMPORTED = """
import runpy, sys
tool = sys.argv[1]
sys.argv = sys.argv[1:]
try:
    runpy.run_path(tool, run_name='__main__')
except SystemExit as end:
    print('exit', end.code)
print(*(name for name in ('numpy', 'torch', 'mmengine', 'mmseg_faseg') if name in sys.modules))
"""


@pytest.mark.parametrize('tool', [*TOOLS, *STOCK])
def test_help_imports_nothing_heavy(tool, tmp_path):
    path = REPOSITORY / 'tools' / f'{tool}.py'
    done = run(sys.executable, '-c', IMPORTED, path, '--help', cwd=tmp_path)
    *text, code, heavy = done.stdout.splitlines()
    assert text[0].startswith(f'usage: {tool}.py'), done.stderr
    assert (code, heavy) == ('exit 0', '')


@pytest.mark.parametrize('tool', TOOLS)
def test_wrong_arguments_import_nothing_heavy(tool, tmp_path):
    path = REPOSITORY / 'tools' / f'{tool}.py'
    done = run(sys.executable, '-c', IMPORTED, path, 'a', 'b', '--nosuch', cwd=tmp_path)
    assert '--nosuch' in done.stderr
    assert done.stdout.splitlines() == ['exit 2', '']


ARGUMENTS = [
    'a.b=1', 'a.c=1e-4', 'd=True', 'e=None', 'f=1,2,3', 'g=[1,2]', 'h=(1,2)', 'i="[(a, b), c]"',
    'j=text', 'k=', 'l=x=y', 'm=[]', 'j=later',
]  # fmt: skip


def test_options_are_read_as_mmengine_does():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    expected = parser.parse_args(['--cfg-options', *ARGUMENTS]).cfg_options
    assert parse_options(ARGUMENTS) == expected
    assert len(expected) == len(ARGUMENTS) - 1
    assert parse_options(None) == {}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['depth'], "--cfg-options takes KEY=VALUE, got 'depth'"),
        (['=3', 'a=1', 'b'], "--cfg-options takes KEY=VALUE, got '=3', 'b'"),
        (['a=[1,(2,3]'], '--cfg-options: Imbalanced brackets exist in 1,(2,3'),
    ],
)
def test_options_that_cannot_be_read_are_quoted(arguments, message):
    with pytest.raises(UserError) as caught:
        parse_options(arguments)
    assert str(caught.value) == message


def test_an_option_below_one_that_has_no_entries():
    """Found by tests/security/test_fuzz_inputs.py."""
    options = parse_options(['param_scheduler=', 'param_scheduler.model.type=A'])
    with pytest.raises(UserError, match=r'^--cfg-options param_scheduler= param_scheduler\.model'):
        load_config('mmseg_faseg::faseg_toy.py', options)


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'get_flops.py'])
def test_options_may_be_given_several_times(tool, tmp_path, monkeypatch, capsys):
    """Both of these are wrong, and both are named; the config is one of ours by name."""
    config = ['mmseg_faseg::faseg_toy.py', *(['weights.pth'] if tool == 'test.py' else [])]
    options = ['--cfg-options', 'modle.x=1', '--cfg-options', 'optim_wraper.type=A']
    with pytest.raises(SystemExit) as caught:
        call_tool(tool, *config, *options, cwd=tmp_path, monkeypatch=monkeypatch)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: --cfg-options: ')
    assert "'modle', did you mean 'model'" in error
    assert "'optim_wraper', did you mean 'optim_wrapper'" in error
