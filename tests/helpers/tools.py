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
    return ended(start(*command, cwd=cwd, **environment))


def start(*command: object, cwd: Path, **environment: object) -> subprocess.Popen:
    """Starts a command, for :func:`ended`."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable}
    env.update({name: str(value) for name, value in environment.items()})
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([str(part) for part in command], cwd=cwd, env=env, **pipes)


def ended(process: subprocess.Popen, seconds: float = 900) -> SimpleNamespace:
    """Waits for the end of a command, which fails the test if it takes too long."""
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun passes it on to what it started
        stdout, stderr = process.communicate(timeout=60)
        pytest.fail(f'did not end within {seconds} s: {stdout[-2000:]}{stderr[-2000:]}')
    return SimpleNamespace(returncode=process.returncode, stdout=stdout, stderr=stderr)


def call_tool(tool: str, *arguments: object, monkeypatch: pytest.MonkeyPatch, cwd: Path) -> None:
    """Runs ``tools/{tool}`` within this process, which saves the seconds of its imports."""
    path = str(REPOSITORY / 'tools' / tool)
    monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(cwd)
    runpy.run_path(path, run_name='__main__')


def run_tool(tool: str, *arguments: object, cwd: Path, **environment: object) -> SimpleNamespace:
    """Runs ``tools/{tool}`` as a user would."""
    return run(*tool_command(tool), *arguments, cwd=cwd, **environment)


def tool_command(tool: str) -> list[object]:
    """What a user types before a tool's arguments."""
    launcher = 'bash' if tool.endswith('.sh') else sys.executable
    return [launcher, REPOSITORY / 'tools' / tool]
