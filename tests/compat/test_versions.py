"""A combination of packages that cannot work gets one sentence."""

import re
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from mmseg_faseg.compat import versions
from tests.helpers.tools import REPOSITORY, run


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A dict of package versions that the check finds; None for a missing package."""
    packages = {**versions.tested_versions(), 'ftfy': '6', 'regex': '2024'}
    names = {module: name for name, module in versions._MODULES.items()}

    def find_spec(module):
        if packages.get(names.get(module, module), '1') is None:
            return None
        if module == 'mmcv':  # which says its version itself
            (tmp_path / 'version.py').write_text(f"__version__ = '{packages['mmcv']}'\n")
        return SimpleNamespace(origin=str(tmp_path / '__init__.py'))

    def version(name):
        if name == 'mmcv' or packages.get(name) is None:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(versions, 'find_spec', find_spec)
    monkeypatch.setattr(versions, 'version', version)
    return packages


def test_tested_versions_pass(installed):
    """With mmcv-lite, which has metadata under another name than mmcv."""
    versions.check_versions()


@pytest.mark.parametrize('torch_version', ['2.6.0', '2.11.0+cu128', '3.0.1'])
def test_another_torch_passes(installed, torch_version):
    installed['torch'] = torch_version
    versions.check_versions()


@pytest.mark.parametrize(
    ('package', 'found', 'command'),
    [
        ('torch', None, 'pip install "torch=='),
        ('torch', '2.5.1', 'pip install "torch=='),
        ('mmcv', None, 'pip install "mmcv-lite==2.1.0"'),
        ('mmcv', '2.2.0', 'pip uninstall -y mmcv mmcv-lite && pip install "mmcv-lite==2.1.0"'),
        ('mmdet', None, 'pip install "mmdet==3.3.0"'),
        ('mmdet', '3.2.0', 'pip install "mmdet==3.3.0"'),
        ('mmsegmentation', '1.1.0', 'pip install "mmsegmentation==1.2.2"'),
        ('mmengine', '0.9.1', 'pip install "mmengine==0.10.7"'),
        ('mmpretrain', None, 'pip install "mmpretrain==1.2.0"'),
        ('ftfy', None, 'pip install "ftfy"'),
        ('pkg_resources', None, 'pip install "setuptools<81"'),
    ],
)
def test_wrong_package_gets_one_sentence(installed, package, found, command):
    installed[package] = found
    with pytest.raises(ImportError) as caught:
        versions.check_versions()
    message = str(caught.value)
    assert '\n' not in message
    assert package in message
    assert (found or 'not') in message
    assert command in message


def test_missing_system_library_is_named(installed, monkeypatch):
    def import_module(name):
        raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')

    monkeypatch.setattr(versions.importlib, 'import_module', import_module)
    with pytest.raises(ImportError, match=r'library libGL\.so\.1: install it .*-headless'):
        versions.check_versions()


def test_import_without_torch_says_so(tmp_path):
    # -S and no PYTHONPATH entry but ours: a Python that has nothing installed.
    result = run(
        sys.executable, '-S', '-c', 'import mmseg_faseg', cwd=tmp_path, PYTHONPATH=REPOSITORY
    )
    last = result.stderr.strip().splitlines()[-1]
    assert re.match(r'ImportError: mmseg_faseg needs torch==\S+, but torch is not installed', last)
