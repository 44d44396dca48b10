"""What keeps a GPU from being used is said in one line. All with a faked ``torch.cuda``."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from mmseg_faseg.apis import UserError
from tools.benchmarks import gpus
from tools.benchmarks.gpus import check_gpu

BUILT = ['sm_75', 'sm_80', 'sm_90', 'sm_100a', 'sm_120', 'compute_120']


@pytest.fixture
def machine(monkeypatch):
    """Makes ``torch.cuda`` look like a machine's."""

    def fake(
        built_cuda='13.0', driver=(13, 0), available=True, cards=(('NVIDIA A', (9, 0)),), arch=BUILT
    ):
        monkeypatch.setattr(torch.version, 'cuda', built_cuda)
        monkeypatch.setattr(gpus, 'driver_cuda', lambda: driver)
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: available)
        monkeypatch.setattr(torch.cuda, 'get_arch_list', lambda: arch)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: len(cards))
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda i=0: cards[i][0])
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda i=0: cards[i][1])

    return fake


def refusal(**machine) -> str:
    with pytest.raises(UserError) as caught:
        check_gpu()
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_a_gpu_that_fits_is_accepted_without_a_word(machine):
    machine()
    assert check_gpu() == []


def test_a_build_without_cuda(machine):
    machine(built_cuda=None)
    message = refusal()
    assert torch.__version__ in message and 'without CUDA' in message


def test_no_driver(machine):
    machine(driver=None, available=False)
    assert 'no NVIDIA driver' in refusal()


def test_a_driver_too_old_for_this_torch(machine):
    machine(driver=(12, 4), available=False)
    message = refusal()
    assert 'CUDA 12.4 at most' in message and 'built for CUDA 13.0' in message


def test_pytorch_warning_about_the_driver_is_not_repeated(machine, monkeypatch, recwarn):
    machine(driver=(12, 4))

    def is_available():
        warnings.warn('CUDA initialization: The NVIDIA driver is too old', stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, 'is_available', is_available)
    refusal()
    assert not recwarn.list


@pytest.mark.parametrize(('visible', 'named'), [(None, 'is not set'), ('', "is ''"), ('7', "'7'")])
def test_gpus_that_are_hidden(machine, monkeypatch, visible, named):
    """A driver older within its major version is not to blame."""
    machine(driver=(13, 0), built_cuda='13.2', available=False)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert f'CUDA_VISIBLE_DEVICES {named}' in refusal().replace("is '7'", "'7'")


@pytest.mark.parametrize(
    'capability', [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (12, 1), (13, 0)]
)
def test_capabilities_that_run(machine, capability):
    """The same, a later one of the same major version, or a later one from PTX."""
    machine(cards=[('NVIDIA B', capability)])
    check_gpu()


@pytest.mark.parametrize('capability', [(6, 1), (7, 0), (10, 3), (11, 0)])
def test_capabilities_without_code(machine, capability):
    """Older than all, older within its major version, or beside code for one chip only."""
    machine(cards=[('NVIDIA C', capability)])
    message = refusal()
    assert f'NVIDIA C has compute capability {capability[0]}.{capability[1]}' in message
    assert 'sm_75, sm_80' in message


def test_family_code_and_unknown_code(machine):
    machine(arch=['sm_100f'], cards=[('NVIDIA D', (10, 3))])
    check_gpu()
    machine(arch=['sm_next'], cards=[('NVIDIA D', (10, 3))])
    check_gpu()


def test_precisions_that_gain_nothing(machine):
    machine(cards=[('NVIDIA T4', (7, 5))])
    (note,) = check_gpu()
    assert 'bfloat16, TF32' in note and 'float16,' not in note.replace('bfloat16', '')


def test_an_older_driver_of_the_same_major_version(machine):
    machine(driver=(12, 2), built_cuda='12.8')
    (note,) = check_gpu()
    assert '12.2' in note and '12.8' in note


def test_gpus_of_different_kinds(machine):
    machine(cards=[('NVIDIA A', (9, 0)), ('NVIDIA B', (8, 0))])
    (note,) = check_gpu()
    assert '0: NVIDIA A, 1: NVIDIA B' in note and 'CUDA_VISIBLE_DEVICES' in note
    machine(cards=[('NVIDIA A', (9, 0))] * 2)
    assert check_gpu() == []


@pytest.mark.parametrize(
    ('version', 'status', 'expected'),
    [(13000, 0, (13, 0)), (12040, 0, (12, 4)), (0, 0, None), (13000, 34, None)],
)
def test_what_the_driver_says(monkeypatch, version, status, expected):
    def ask(pointer):
        pointer._obj.value = version
        return status

    monkeypatch.setattr(gpus.ctypes, 'CDLL', lambda name: SimpleNamespace(cuDriverGetVersion=ask))
    assert gpus.driver_cuda() == expected


def test_no_driver_library(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(gpus.ctypes, 'CDLL', missing)
    assert gpus.driver_cuda() is None
