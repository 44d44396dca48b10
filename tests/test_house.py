"""Who may import whom, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.tools import REPOSITORY

# Imports go down: a room imports from its own floor and from those before it.
FLOORS = (
    ('downloads', 'errors', 'files', 'registry', 'sharding', 'startup', 'version'),
    ('compat',),
    ('models', 'datasets', 'evaluation', 'labels'),
    ('checkpoints',),
    ('engine',),
    ('explain', 'export'),
    ('report', 'own_data', 'registration'),
    ('apis',),
    ('cli', 'app'),
    ('__main__',),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = 'mmseg_faseg'


def imported_by(file: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a module imports, in functions too."""
    module = file.relative_to(root).with_suffix('').parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the module's own folder, each further one the folder above.
            parents = module[: len(module) - node.level] if node.level else ()
            start = '.'.join([*parents, *filter(None, [node.module])])
            yield from ((node.lineno, f'{start}.{alias.name}') for alias in node.names)


def upward_imports(root: Path) -> list[str]:
    """Where a room of the package below ``root`` imports from a higher floor, or the tools."""
    wrong = []
    for file in sorted((root / PACKAGE).rglob('*.py')):
        path = file.relative_to(root)
        if path == Path(PACKAGE, '__init__.py'):  # it opens the house
            continue
        own = Path(path.parts[1]).stem
        for line, name in imported_by(file, root):
            package, room, *_ = *name.split('.'), ''
            upward = package == PACKAGE and FLOOR_OF.get(room, 0) > FLOOR_OF.get(own, 0)
            if upward or package in ('tools', 'tests'):
                wrong.append(f'{path}:{line} imports {name}')
    return wrong


def imports_of_tests(root: Path) -> list[str]:
    """Where a module below ``root``/tests imports a test module."""
    return [
        f'{file.relative_to(root)}:{line} imports {name}'
        for file in sorted((root / 'tests').rglob('*.py'))
        for line, name in imported_by(file, root)
        if name.startswith('tests.') and any(p.startswith('test_') for p in name.split('.'))
    ]


def test_every_room_has_a_floor():
    rooms = {
        path.stem
        for path in (REPOSITORY / PACKAGE).iterdir()
        if path.suffix == '.py' or (path / '__init__.py').is_file()
    }
    assert rooms - {'__init__'} <= FLOOR_OF.keys()


def test_imports_go_down():
    assert upward_imports(REPOSITORY) == []


def test_no_test_module_imports_another():
    assert imports_of_tests(REPOSITORY) == []


@pytest.mark.parametrize(
    ('file', 'source', 'named'),
    [
        ('models/head.py', 'from ..apis import train', 'mmseg_faseg.apis.train'),
        ('models/head.py', 'def f():\n    from ..apis.config import load', 'apis.config.load'),
        ('models/decoders/x.py', 'from ...engine import hook', 'mmseg_faseg.engine.hook'),
        ('models/__init__.py', 'from ..apis import train', 'mmseg_faseg.apis.train'),
        ('errors.py', 'from . import compat', 'mmseg_faseg.compat'),
        ('errors.py', 'import mmseg_faseg.models.head', 'mmseg_faseg.models.head'),
        ('compat/a.py', 'from mmseg_faseg import models', 'mmseg_faseg.models'),
        ('apis/train.py', 'from tools.benchmarks import speed', 'tools.benchmarks.speed'),
        ('engine/a.py', 'from ..datasets import x', None),
        ('models/a.py', 'from .semantic import head\nfrom ..registry import register', None),
        ('__init__.py', 'from .apis import train', None),
    ],
)
def test_upward_imports_are_found(file, source, named, tmp_path):
    path = tmp_path / PACKAGE / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    found = upward_imports(tmp_path)
    assert len(found) == (named is not None)
    assert all(line.endswith(named) for line in found)


@pytest.mark.parametrize(
    ('source', 'wrong'),
    [
        ('from tests.apis.test_tools import run', True),
        ('from tests.apis import test_tools', True),
        ('from . import test_tools', True),
        ('def f():\n    import tests.apis.test_tools', True),
        ('from tests.helpers.tools import run', False),
        ('from mmseg_faseg.models import test_cfg', False),
    ],
)
def test_imports_between_tests_are_found(source, wrong, tmp_path):
    path = tmp_path / 'tests' / 'apis' / 'test_a.py'
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert len(imports_of_tests(tmp_path)) == wrong
