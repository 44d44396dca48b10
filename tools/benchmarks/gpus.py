"""What keeps a GPU from being used, each said in one line."""

import ctypes
import os
import re
import warnings

import torch

from mmseg_faseg.apis import UserError

Version = tuple[int, int]

# Compute capability below which a precision gains nothing.
_GAINS_FROM = {'float16': (7, 0), 'bfloat16': (8, 0), 'TF32': (8, 0)}


def check_gpu() -> list[str]:
    """Checks that PyTorch can compute on the first visible GPU.

    Returns:
        Notes, one line each, on what works but not as one may expect.

    Raises:
        UserError: It cannot; names what would be right.
    """
    check_driver()
    name, capability = torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
    built = torch.cuda.get_arch_list()
    if not any(_runs_on(code, capability) for code in built):
        raise UserError(
            f'{name} has compute capability {_spelled(capability)}, but PyTorch '
            f'{torch.__version__} is built for {", ".join(built)}: install a PyTorch built for it, '
            'or choose another GPU with CUDA_VISIBLE_DEVICES'
        )
    return _notes(name, capability)


def check_driver() -> None:
    """Checks PyTorch's build and the driver, without taking any of a GPU's memory.

    Raises:
        UserError: PyTorch sees no GPU; says whose fault that is.
    """
    if torch.version.cuda is None:
        raise UserError(
            f'PyTorch {torch.__version__} is built without CUDA: install a build with it, as '
            'pytorch.org says, and call tools/install.sh again'
        )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyTorch says the same in several lines
        if torch.cuda.is_available():
            return
    driver, built = driver_cuda(), _built_cuda()
    if driver is None:
        raise UserError('no NVIDIA driver answers on this machine: install one, or its container')
    if driver[0] < built[0]:  # within a major version older drivers do
        raise UserError(
            f'the NVIDIA driver supports CUDA {_spelled(driver)} at most, but PyTorch '
            f'{torch.__version__} is built for CUDA {_spelled(built)}: update the driver, or '
            f'install a PyTorch built for CUDA {driver[0]}'
        )
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    named = 'is not set' if visible is None else f'is {visible!r}'
    raise UserError(
        f'PyTorch finds no GPU, though there is a driver (CUDA_VISIBLE_DEVICES {named}): see '
        'what nvidia-smi lists'
    )


def driver_cuda() -> Version | None:
    """The newest CUDA that the installed driver supports; None without a driver."""
    try:
        driver = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0 or not version.value:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _notes(name: str, capability: Version) -> list[str]:
    notes = []
    driver, built = driver_cuda(), _built_cuda()
    if driver is not None and driver < built:
        notes.append(
            f'the NVIDIA driver supports CUDA {_spelled(driver)}, PyTorch is built for '
            f'{_spelled(built)}: its own kernels run, code compiled at run time may not'
        )
    without = [precision for precision, needed in _GAINS_FROM.items() if capability < needed]
    if without:
        notes.append(
            f'{name} (compute capability {_spelled(capability)}) has no units for '
            f'{", ".join(without)}: no gain there'
        )
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if len(set(names)) > 1:
        listed = ', '.join(f'{index}: {name}' for index, name in enumerate(names))
        notes.append(
            f'GPUs of different kinds ({listed}): number 0 is used, CUDA_VISIBLE_DEVICES chooses'
        )
    return notes


def _built_cuda() -> Version:
    major, minor = torch.version.cuda.split('.')[:2]
    return int(major), int(minor)


def _runs_on(code: str, capability: Version) -> bool:
    """Whether code such as 'sm_86' (machine code) or 'compute_90' (PTX) runs on a GPU.

    Machine code runs on GPUs of its major version that are not older; PTX is compiled for any GPU
    that is not older; code that ends in 'a' is for one kind of GPU. See 'Application
    Compatibility' in NVIDIA's CUDA C++ Programming Guide.
    """
    match = re.fullmatch(r'(sm|compute)_(\d+)(\d)([af]?)', code)
    if match is None:
        return True  # a kind of code not known here is no reason to refuse
    kind, major, minor, suffix = match.groups()
    version = int(major), int(minor)
    if suffix == 'a':
        return version == capability
    if kind == 'compute' and not suffix:
        return version <= capability
    return version[0] == capability[0] and version <= capability


def _spelled(version: Version) -> str:
    return f'{version[0]}.{version[1]}'
