"""The wheel carries the configs and tools, which mim and the hub look for."""

import shutil
import sys

import pytest

from tests.helpers.tools import REPOSITORY, run

# What measures takes a checkout.
NOT_IN_THE_WHEEL = ('__init__.py', 'ablate.py', 'benchmark', 'cuda_check.')


@pytest.fixture(scope='module')
def installed_wheel(tmp_path_factory):
    """Our wheel, built from a copy of the sources and installed into a folder of its own."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    ignore = shutil.ignore_patterns('__pycache__')
    for name in ('mmseg_faseg', 'configs', 'tools'):
        shutil.copytree(REPOSITORY / name, source / name, symlinks=True, ignore=ignore)
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    options = ['--no-deps', '--no-build-isolation', '--no-index']
    built = run(*pip, 'wheel', *options, '--wheel-dir', folder, source, cwd=folder)
    assert built.returncode == 0, built.stderr
    wheel = next(folder.glob('*.whl'))
    put = run(*pip, 'install', *options, '--target', folder / 'site', wheel, cwd=folder)
    assert put.returncode == 0, put.stderr
    return folder / 'site'


@pytest.mark.package
def test_wheel_carries_configs_and_tools(installed_wheel, tmp_path):
    mim = installed_wheel / 'mmseg_faseg' / '.mim'
    assert (mim / 'model-index.yml').is_file()
    for folder, suffixes in {'configs': ['.py', '.yaml'], 'tools': ['.py', '.sh']}.items():
        expected = {
            str(path.relative_to(REPOSITORY / folder))
            for path in (REPOSITORY / folder).rglob('*')
            if path.suffix in suffixes and '__pycache__' not in path.parts
        }
        there = {
            str(path.relative_to(mim / folder))
            for path in (mim / folder).rglob('*')
            if path.suffix in suffixes
        }
        assert expected - there == {name for name in expected if name.startswith(NOT_IN_THE_WHEEL)}
    assert not (mim / 'configs').is_symlink()
    code = (
        'import mmengine.hub, mmseg_faseg\n'
        "cfg = mmengine.hub.get_config('mmseg_faseg::mask2former_r18_camvid.py')\n"
        'print(mmseg_faseg.__file__, cfg.filename, cfg.model.decode_head.type)'
    )
    result = run(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=installed_wheel)
    assert result.returncode == 0, result.stderr
    module, filename, head = result.stdout.split()[-3:]
    assert module.startswith(str(installed_wheel))
    assert filename.startswith(str(installed_wheel))
    assert head == 'Mask2FormerHead'


@pytest.mark.package
def test_wheel_carries_all_files_of_the_package(installed_wheel):
    ours = REPOSITORY / 'mmseg_faseg'
    expected = {
        path.relative_to(ours)
        for path in ours.rglob('*')
        if path.is_file() and '.mim' not in path.parts and '__pycache__' not in path.parts
    }
    theirs = installed_wheel / ours.name
    assert {path for path in expected if not (theirs / path).is_file()} == set()
