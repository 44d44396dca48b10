"""Ways to call the tools."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).parents[2]


def run(*command: object, cwd: Path, **environment: object) -> SimpleNamespace:
    """Runs a command in ``cwd`` on one thread; its ``returncode``, ``stdout`` and ``stderr``."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable}
    env.update({name: str(value) for name, value in environment.items()})
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True
    )


def call_tool(tool: str, *arguments: object, monkeypatch: pytest.MonkeyPatch, cwd: Path) -> None:
    """Runs ``tools/{tool}`` within this process, which saves the seconds of its imports."""
    path = str(REPOSITORY / 'tools' / tool)
    monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(cwd)
    runpy.run_path(path, run_name='__main__')


def run_tool(tool: str, *arguments: object, cwd: Path, **environment: object) -> SimpleNamespace:
    """Runs ``tools/{tool}`` as a user would."""
    path = REPOSITORY / 'tools' / tool
    launcher = ['bash'] if tool.endswith('.sh') else [sys.executable]
    return run(*launcher, path, *arguments, cwd=cwd, **environment)
