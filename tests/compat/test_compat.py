import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import mmengine.hub
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.optim import build_optim_wrapper

from mmseg_faseg.compat import config_path, deformable_attention, versions
from mmseg_faseg.compat.amp import MMEngineAmpOptimWrapper
from tests.helpers.tools import REPOSITORY, run

# --- versions


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A dict of package versions that the check finds; None for a missing package."""
    packages = {**versions.tested_versions(), 'ftfy': '6', 'regex': '2024'}
    names = {module: name for name, module in versions._MODULES.items()}
    (tmp_path / '_ext.so').touch()

    def find_spec(module):
        if packages.get(names.get(module, module), '1') is None:
            return None
        return SimpleNamespace(submodule_search_locations=[str(tmp_path)])

    def version(name):
        if packages.get(name) is None:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(versions, 'find_spec', find_spec)
    monkeypatch.setattr(versions, 'version', version)
    packages['operators'] = tmp_path / '_ext.so'
    return packages


def test_tested_versions_pass(installed):
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
        ('mmcv', None, 'pip install --no-build-isolation'),
        ('mmcv', '2.2.0', '"mmcv==2.1.0"'),
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


def test_mmcv_lite_is_named(installed):
    installed['mmcv-lite'] = '2.1.0'
    installed['operators'].unlink()
    with pytest.raises(ImportError, match='mmcv-lite 2.1.0 is installed: pip uninstall -y mmcv-l'):
        versions.check_versions()


def test_mmcv_without_operators_is_named(installed):
    installed['operators'].unlink()
    with pytest.raises(ImportError, match=r'mmcv 2\.1\.0 was installed without them'):
        versions.check_versions()


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


# --- checkpoints


def _checkpoint_like_mmengine() -> dict:
    buffer = HistoryBuffer()
    for value in (3.0, 1.0):
        buffer.update(value)
    return dict(
        state_dict=dict(weight=torch.ones(2)),
        meta=dict(epoch=0, iter=2, palette=np.arange(6, dtype=np.uint8).reshape(2, 3)),
        message_hub=dict(log_scalars={'train/loss': buffer}, best=np.float64(48.5)),
    )


def test_mmengine_checkpoint_loads_protected(tmp_path):
    torch.save(_checkpoint_like_mmengine(), tmp_path / 'iter_2.pth')
    loaded = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert buffer.mean() == 2
    assert buffer.statistics('current') == 1
    assert loaded['message_hub']['best'] == 48.5
    assert loaded['meta']['palette'].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize('core', ['core', '_core'])
def test_both_names_of_numpys_module_load(tmp_path, core):
    torch.save(dict(a=np.arange(3), b=np.float32(2)), tmp_path / 'a.pth')
    content = (tmp_path / 'a.pth').read_bytes()
    written = re.search(rb'numpy\._?core\.multiarray', content)[0]
    # The archive's checksum does not cover what is changed here: rewrite the pickle itself.
    name = f'numpy.{core}.multiarray'.encode()
    _rewrite_pickle(tmp_path / 'a.pth', lambda data: data.replace(written, name))
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded['a'].tolist() == [0, 1, 2]
    assert loaded['b'] == 2


def _rewrite_pickle(file, change) -> None:
    import zipfile

    with zipfile.ZipFile(file) as archive:
        content = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(file, 'w') as archive:
        for info, data in content.items():
            new = change(data) if info.filename.endswith('data.pkl') else data
            archive.writestr(info.filename, new)


class _Call:
    """Pickles as the call of a function, which unpickling would make."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'attack',
    [
        lambda marker: _Call(os.system, f'touch {marker}'),
        lambda marker: _Call(subprocess.call, ['touch', str(marker)]),
        lambda marker: _Call(eval, f'open({str(marker)!r}, "w")'),
        lambda marker: _Call(getattr, HistoryBuffer, '__init__'),
        lambda marker: _Call(getattr, HistoryBuffer, '__reduce__'),
        lambda marker: _Call(getattr, HistoryBuffer, 'register_statistics'),
        lambda marker: _Call(getattr, np.ndarray, 'tofile'),
        lambda marker: _Call(getattr, torch.Tensor, 'mean'),
        lambda marker: _Call(getattr, _Call(getattr, HistoryBuffer, 'mean'), '__globals__'),
    ],
    ids=[
        'system',
        'subprocess',
        'eval',
        'init',
        'reduce',
        'register',
        'numpy',
        'tensor',
        'globals',
    ],
)
def test_hostile_file_is_refused(tmp_path, attack):
    marker = tmp_path / 'marker'
    torch.save(dict(state_dict={}, meta=attack(marker)), tmp_path / 'hostile.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'hostile.pth', weights_only=True)
    assert not marker.exists()


# --- configs


def test_our_config_by_name_as_base(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = ['mmseg_faseg::mask2former_r18_camvid.py']\nmodel = dict(backbone=dict(depth=34))"
    )
    cfg = Config.fromfile(config)
    assert cfg.model.backbone.depth == 34
    assert cfg.train_dataloader.dataset.type == 'CamVidDataset'


def test_our_config_by_name_from_the_hub():
    cfg = mmengine.hub.get_config('mmseg_faseg::mask2former_r18_camvid.py')
    assert cfg.filename.endswith('mask2former_r18_camvid.py')
    # Others still go MMEngine's way.
    other = mmengine.hub.get_config('mmseg::_base_/default_runtime.py')
    assert other.default_scope == 'mmseg'


def test_unknown_config_lists_those_there_are():
    with pytest.raises(FileNotFoundError, match='no config .*nosuch.py.*mask2former_r18_camvid.py'):
        config_path('mmseg_faseg::nosuch.py')


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
            if path.suffix in suffixes
        }
        assert expected
        missing = {name for name in expected if not (mim / folder / name).is_file()}
        assert not missing
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


# --- mixed precision


def _amp_wrapper(model, **more):
    cfg = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1), **more)
    return build_optim_wrapper(model, cfg)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU: MMEngine does it')
@pytest.mark.parametrize('dtype', [None, 'float16'])
def test_amp_without_gpu_trains_in_bfloat16(dtype):
    model = torch.nn.Linear(4, 2)
    before = model.weight.detach().clone()
    wrapper = _amp_wrapper(model, loss_scale='dynamic', dtype=dtype, clip_grad=dict(max_norm=1.0))
    with wrapper.optim_context(model):
        output = model(torch.ones(3, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    # Clipped before the step, as MMEngine does.
    assert (model.weight - before).norm() <= 0.1 + 1e-6
    state = wrapper.state_dict()
    _amp_wrapper(torch.nn.Linear(4, 2)).load_state_dict(state)


def test_a_run_that_began_without_gpu_goes_on_with_one():
    state = _amp_wrapper(torch.nn.Linear(4, 2)).state_dict()
    state['loss_scaler'] = {}  # what a disabled scaler stores
    wrapper = _amp_wrapper(torch.nn.Linear(4, 2))
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', enabled=True)
    wrapper.load_state_dict(state)
    assert wrapper.loss_scaler.is_enabled()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_amp_with_gpu_is_mmengines():
    model = torch.nn.Linear(4, 2).cuda()
    wrapper = _amp_wrapper(model)
    assert isinstance(wrapper, MMEngineAmpOptimWrapper)
    assert wrapper.loss_scaler.is_enabled()
    with wrapper.optim_context(model):
        assert model(torch.ones(3, 4, device='cuda')).dtype == torch.float16


@pytest.mark.parametrize(
    ('compiled_for', 'takes_operator'), [('not available', False), ('13.0', True)]
)
def test_deformable_attention_on_a_gpu_without_operator(compiled_for, takes_operator, monkeypatch):
    module = deformable_attention.multi_scale_deform_attn
    monkeypatch.setattr(module, 'IS_CUDA_AVAILABLE', True)
    monkeypatch.setattr(deformable_attention, 'get_compiling_cuda_version', lambda: compiled_for)
    operator = SimpleNamespace(
        apply=lambda value, *_: value.new_tensor(value.dtype == torch.float32)
    )
    monkeypatch.setattr(module, 'MultiScaleDeformableAttnFunction', operator)
    for _ in range(2):  # once is enough, twice does no harm
        deformable_attention.prepare_operator()
    assert module.IS_CUDA_AVAILABLE is takes_operator
    if takes_operator:
        x = torch.ones(2, dtype=torch.bfloat16)
        out = module.MultiScaleDeformableAttnFunction.apply(x, None, None, x, x, 1)
        assert out.dtype is torch.bfloat16
        assert out  # what the operator got was float32
        assert module.MultiScaleDeformableAttnFunction.operator is operator
