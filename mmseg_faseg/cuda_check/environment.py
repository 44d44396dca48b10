"""What the check runs on."""

import importlib.metadata
import importlib.util
import multiprocessing
import subprocess
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from ..apis.gpus import check_build, check_driver, check_gpu, driver_cuda
from ..benchmark.machine import describe as describe_machine
from ..models.ops.deformable_attention.attention import choose_backend
from ..models.ops.deformable_attention.backends import find_mmcv_operator
from ..version import __version__

_PACKAGES = ('mmcv', 'mmengine', 'mmsegmentation', 'mmdet', 'numpy')


def describe_apart(device: str) -> dict[str, Any]:
    """:func:`describe` in a process of its own: what it takes of the GPU's memory goes with it."""
    if device == 'cuda':  # what takes none is said at once
        check_build()
        check_driver()
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(describe, device).result()


def describe(device: str) -> dict[str, Any]:
    """Describes the machine.

    Args:
        device: 'cuda' or 'cpu'.

    Returns:
        ``facts``, names and values as a table shows them; ``notes``, one line each; ``identity``,
        what must be the same for results to belong together; ``deformable``, the back end of each
        model's deformable attention.

    Raises:
        UserError: 'cuda' is asked for and cannot be used.
    """
    notes = check_gpu() if device == 'cuda' else []
    facts = describe_machine(device, torch.get_num_threads())
    facts.pop('GPU', None)  # said with more below
    operator = device == 'cuda' and find_mmcv_operator() is not None
    if device == 'cuda':
        facts |= _gpu_facts()
        facts["MMCV's deformable attention for CUDA"] = 'compiled' if operator else 'not compiled'
    facts['Triton'] = _version_of('triton')
    facts |= {name: _version_of(name) for name in _PACKAGES}
    facts['mmseg_faseg'] = __version__
    identity = {key: facts[key] for key in ('PyTorch', 'mmseg_faseg')}
    identity['device'] = facts['GPU 0'] if device == 'cuda' else facts['processor']
    ours = choose_backend('auto', torch.device(device))
    theirs = 'mmcv' if operator else "grid_sample, by MMCV's PyTorch formula"
    deformable = dict(FASeg=ours, Mask2Former=theirs)
    return dict(facts=facts, notes=notes, identity=identity, deformable=deformable)


def _gpu_facts() -> dict[str, str]:
    facts = {}
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        facts[f'GPU {index}'] = (
            f'{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute capability '
            f'{gpu.major}.{gpu.minor}, {gpu.multi_processor_count} multiprocessors'
        )
    supported = driver_cuda()
    newest = f', CUDA up to {supported[0]}.{supported[1]}' if supported else ''
    facts['driver'] = f'{_driver_version()}{newest}'
    facts['CUDA of PyTorch'] = torch.version.cuda
    facts['cuDNN'] = str(torch.backends.cudnn.version())
    facts['PyTorch has code for'] = ' '.join(torch.cuda.get_arch_list())
    return facts


def _driver_version() -> str:
    command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return 'unknown (nvidia-smi does not answer)'
    return next(iter(done.stdout.split()), 'unknown')


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'there' if importlib.util.find_spec(package) else 'not installed'
