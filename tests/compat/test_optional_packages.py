"""The import works beside packages that break, or lack what OpenMMLab takes from them."""

import builtins
import sys

import pytest

from mmseg_faseg.compat import optional_packages
from tests.helpers.fork import IS_FORK
from tests.helpers.tools import REPOSITORY, run

# Packages of today, as OpenMMLab's modules meet them: each a name, a version and its code.
_STAND_INS = {
    'transformers that lacks what is asked for': ('transformers', '5.24.0', ''),
    'transformers that breaks on what is asked for': (
        'transformers',
        '5.24.0',
        'def __getattr__(name):\n    raise RuntimeError(f"Failed to import {name}: no nms")',
    ),
    'transformers that breaks': ('transformers', '5.0.0.dev0', 'raise TypeError("NoneType")'),
    'timm that breaks': ('timm', '1.0.31', 'raise AttributeError("module torch has no _six")'),
    'albumentations that breaks': ('albumentations', '2.0.8', 'raise ValueError("numpy.dtype")'),
    'seaborn that breaks': ('seaborn', '0.13.2', 'import numpy\nnumpy.bool8'),
}
_USE = """
import mmseg_faseg
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS as PRETRAIN
from mmseg.registry import MODELS

backbone = MODELS.build(dict(type='mmpretrain.ConvNeXt', arch='atto'))
print(type(backbone).__name__, PRETRAIN.get('BlipCaption').__name__)
"""


def _install(folder, name, version, code):
    """As pip would: the package, and the metadata that MMPretrain reads."""
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(code)
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


@pytest.mark.subprocess
@pytest.mark.parametrize('stand_in', _STAND_INS.values(), ids=_STAND_INS)
def test_backbones_of_mmpretrain_beside(stand_in, tmp_path):
    name, _, code = stand_in
    _install(tmp_path, *stand_in)
    result = run(sys.executable, '-c', _USE, cwd=tmp_path, PYTHONPATH=f'{tmp_path}:{REPOSITORY}')
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-2:] == ['ConvNeXt', 'ask_install']
    breaks = f'{name} is installed, but breaks: '
    asked_for = code != '' and not (name == 'seaborn' and IS_FORK)  # whose parts do not plot
    assert (breaks in result.stderr) == asked_for


def test_mmpretrain_that_was_imported_before_is_as_it_comes(monkeypatch):
    calls = []
    monkeypatch.setattr(optional_packages, '_leave_out_multimodal_models', lambda: calls.append(1))
    optional_packages.import_open_mmlab()
    assert calls == []
    monkeypatch.delitem(sys.modules, 'mmpretrain')
    monkeypatch.setattr(optional_packages, '_MODULES', ())
    optional_packages.import_open_mmlab()
    assert calls == [1]


# --- the guard


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A package that breaks while imported, one that breaks when asked, and one that is whole."""
    (tmp_path / 'breaks.py').write_text('1 / 0')
    lazy = 'def __getattr__(name):\n    if name == "name":\n        1 / 0\n    raise AttributeError'
    (tmp_path / 'lazy.py').write_text(lazy)
    (tmp_path / 'whole.py').write_text('name = 1')
    monkeypatch.syspath_prepend(tmp_path)


def _run_as(module: str, statement: str) -> dict:
    names = {'__name__': module}
    exec(statement, names)
    return names


@pytest.mark.parametrize('statement', ['import breaks', 'from lazy import name'])
def test_a_package_that_breaks_counts_as_missing(broken, statement):
    package = statement.split()[1]
    before = builtins.__import__
    with (
        optional_packages._broken_count_as_missing(),
        pytest.warns(UserWarning, match=f'{package} is installed, but breaks: ZeroDivisionError'),
        pytest.raises(ImportError, match=f'{package} is installed, but breaks: ZeroDivisionError'),
    ):
        _run_as('mmdet.models.some', statement)
    assert builtins.__import__ is before


@pytest.mark.parametrize('statement', ['import breaks', 'from lazy import name'])
def test_others_see_the_error_itself(broken, monkeypatch, statement):
    with optional_packages._broken_count_as_missing(), pytest.raises(ZeroDivisionError):
        _run_as('mine', statement)
    # So do OpenMMLab's packages among each other: that is no optional package.
    monkeypatch.setattr(optional_packages, '_OPEN_MMLAB', ('mmdet', 'breaks', 'lazy'))
    with optional_packages._broken_count_as_missing(), pytest.raises(ZeroDivisionError):
        _run_as('mmdet.models.some', statement)


def test_whole_packages_are_imported(broken):
    with optional_packages._broken_count_as_missing():
        names = _run_as('mmdet', 'import whole, os.path\nfrom whole import name\nfrom re import *')
        with pytest.raises(ImportError, match='cannot import name .other. from .whole.'):
            _run_as('mmdet', 'from whole import other')
    assert names['name'] == 1
    assert names['os'].path
    assert names['match']
