"""Commands in the documentation are ones that exist, with arguments that they take.

What most of them do takes minutes to days, data or weights: here they are read to the point where
work would begin. What is short is run elsewhere: ``tests/cli``, ``tests/apis`` and ``tests/tools``.
"""

import argparse
import functools
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml

from mmseg_faseg.cli import app
from tests.helpers.documented import commands
from tests.helpers.tools import REPOSITORY

# Programs of others, and why they are not looked into.
OTHERS = {
    'pip': 'installs packages',
    'pre-commit': 'installs git hooks',
    'source': "the shell's own",
    'tar': "unpacks a user's download",
    'git': 'needs a repository elsewhere',
    'curl': 'downloads',
    'unzip': "unpacks a user's download",
    'mkdir': 'makes folders',
    'find': 'lists files',
    'mim': "OpenMMLab's",
    'tensorboard': 'a viewer',
    'nox': 'makes environments',
    'sed': 'changes a file of OpenMMLab',
    'csCreateTrainIdLabelImgs': "of Cityscapes' scripts",
}
SCRIPTS = ('segment.py',)  # docs/deploy.md prints it, and tests/apis/test_export.py runs it
COMMANDS = [
    pytest.param(words, id=f'{page}: {shlex.join(words)[:80]}') for page, words in commands()
]


class ReadError(Exception):
    """Arguments have been read."""


def _read(self: argparse.ArgumentParser, parse: Callable, *args) -> None:
    parse(self, *args)
    raise ReadError


def read_arguments(tool: Path, arguments: list[str], monkeypatch) -> None:
    """Runs a tool as far as its arguments; one that it does not take ends in ``SystemExit``."""
    for name in ('parse_args', 'parse_intermixed_args'):
        parse = getattr(argparse.ArgumentParser, name)
        monkeypatch.setattr(argparse.ArgumentParser, name, functools.partialmethod(_read, parse))
    monkeypatch.setattr(sys, 'argv', [str(tool), *arguments])
    monkeypatch.setattr(sys, 'path', [str(tool.parent), *sys.path])
    with pytest.raises(ReadError):
        runpy.run_path(str(tool), run_name='__main__')


def targets() -> set[str]:
    return set(re.findall(r'^([\w-]+):', (REPOSITORY / 'Makefile').read_text(), re.MULTILINE))


@pytest.mark.parametrize('words', COMMANDS)
def test_it_is_a_command(words, monkeypatch):
    program, *arguments = words
    if program.endswith('python') and arguments[:2] == ['-m', 'mmseg_faseg']:
        program, arguments = 'faseg', arguments[2:]
    if program == 'faseg':
        typer.main.get_command(app).make_context('faseg', arguments, resilient_parsing=False)
        if arguments and not arguments[0].startswith('-'):
            verb = typer.main.get_command(app).commands[arguments[0]]
            verb.make_context(arguments[0], arguments[1:])
    elif program.endswith('python') and arguments and arguments[0].startswith('tools/'):
        read_arguments(REPOSITORY / arguments[0], arguments[1:], monkeypatch)
        for config in (word for word in arguments if word.startswith('configs/')):
            assert '*' in config or (REPOSITORY / config).is_file(), config
    elif program == 'make':
        assert {word for word in arguments if '=' not in word} <= targets()
    elif program.startswith('tools/'):
        assert (REPOSITORY / program).is_file()
    elif program.endswith('python'):
        assert arguments[0] in ('-m', '-c', '-', *SCRIPTS), words
    elif program == 'pytest':
        for path in (word for word in arguments if word.startswith('tests/')):
            assert (REPOSITORY / path.partition('::')[0]).exists(), path
    else:
        assert program in OTHERS, words


def test_the_metafile_and_the_makefile_are_read():
    assert {'demo', 'test', 'lint', 'docs'} <= targets()
    assert yaml.safe_load((REPOSITORY / '.github/workflows/ci.yml').read_text())
