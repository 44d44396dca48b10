"""A combination of packages that cannot work gets one sentence."""

import re
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from mmseg_faseg.compat import versions
from tests.helpers.tools import REPOSITORY, run


def _installed(stack, monkeypatch, folder):
    """A dict of a stack's distributions and the versions that the check finds; None: missing."""
    names = {module: name for name, module in versions._STACKS[stack].items()}
    tested = versions.tested_versions()
    packages = {name: tested[name] for name in ('torch', *names.values())}
    packages.update(ftfy='6', regex='2024')
    own = "version('onedl-mmcv')"  # what the fork's mmcv says its version is
    if stack == 'OpenMMLab':
        names['mmcv'], packages['mmcv-lite'] = 'mmcv-lite', packages.pop('mmcv')
        own = "'{mmcv-lite}'"

    def find_spec(module):
        if packages.get(names.get(module, module), '1') is None:
            return None
        if module == 'mmcv':
            (folder / 'version.py').write_text(f'__version__ = {own.format(**packages)}\n')
        return SimpleNamespace(origin=str(folder / '__init__.py'))

    def version(name):
        if packages.get(name) is None:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(versions, 'find_spec', find_spec)
    monkeypatch.setattr(versions, 'version', version)
    return packages


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """OpenMMLab's packages with mmcv-lite."""
    return _installed('OpenMMLab', monkeypatch, tmp_path)


@pytest.fixture
def fork(monkeypatch, tmp_path):
    """The fork's packages."""
    return _installed('OneDL', monkeypatch, tmp_path)


def test_tested_versions_pass(installed):
    """With mmcv-lite, which has metadata under another name than mmcv."""
    versions.check_versions()


def test_the_fork_passes(fork):
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
    installed['mmcv-lite' if package == 'mmcv' else package] = found
    expect_one_sentence(package, found, command)


@pytest.mark.parametrize(
    ('package', 'found', 'command'),
    [
        ('torch', '2.5.1', 'pip install "torch=='),
        ('onedl-mmcv', None, 'pip install "onedl-mmcv==2.3.6"'),
        ('onedl-mmcv', '2.2.2', 'pip install "onedl-mmcv==2.3.6"'),
        ('onedl-mmengine', '0.9.1', 'pip install "onedl-mmengine==0.10.12"'),
        ('onedl-mmsegmentation', None, 'pip install "onedl-mmsegmentation==1.4.2"'),
        ('onedl-mmdetection', '3.4.0', 'pip install "onedl-mmdetection==3.5.1"'),
        ('onedl-mmpretrain', None, 'pip install "onedl-mmpretrain==1.3.6"'),
    ],
)
def test_wrong_package_of_the_fork_is_named_as_the_fork_names_it(fork, package, found, command):
    fork[package] = found
    expect_one_sentence(package, found, command)


@pytest.mark.parametrize('package', ['mmengine', 'mmcv', 'mmcv-lite', 'mmdet'])
def test_both_stacks_are_named_with_what_goes_and_what_comes(fork, package):
    fork[package] = '1.2.3'
    command = (
        f'make env STACK=openmmlab (or onedl), or pip uninstall -y {package} onedl-mmengine '
        'onedl-mmcv onedl-mmsegmentation onedl-mmdetection onedl-mmpretrain && pip install '
        '"mmengine==0.10.7" "mmcv-lite==2.1.0" "mmsegmentation==1.2.2" "mmdet==3.3.0" '
        '"mmpretrain==1.2.0"'
    )
    expect_one_sentence(f'({package} 1.2.3)', 'onedl-mmengine 0.10.12', command)


def test_the_operators_that_compile_are_those_of_the_stack(installed):
    assert versions.compile_command().endswith('"mmcv==2.1.0"')


def test_the_operators_that_compile_are_those_of_the_fork(fork):
    assert versions.compile_command().endswith('"onedl-mmcv==2.3.6"')


def expect_one_sentence(package, found, command):
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
