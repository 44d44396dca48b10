"""The machine: what it is, and how fast it multiplies and copies."""

import math
import os
import platform
import re
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from .timing import Run, stopwatch

_MATMUL_SIZES = (256, 1024, 2048, 8192)
# That one product may take.
_MATMUL_SECONDS = 0.5
_COPY_BYTES = 256 * 2**20


def describe(device: str, threads: int) -> dict[str, str]:
    """Processor, cores, threads and versions, as a table shows them."""
    machine = {
        'processor': _processor(),
        'cores': f'{os.cpu_count()}, threads used: {threads}',
        'memory': f'{_total_memory() / 2**30:.1f} GiB',
        'system': f'{platform.system()} {platform.machine()}, Python {platform.python_version()}',
        'PyTorch': torch.__version__,
    }
    if device != 'cpu':
        properties = torch.cuda.get_device_properties(device)
        machine['GPU'] = (
            f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB, '
            f'compute capability {properties.major}.{properties.minor}, CUDA {torch.version.cuda}'
        )
    return machine


def matmul_rate(device: str, dtype: torch.dtype = torch.float32, repeats: int = 7) -> float:
    """FLOP/s of the best of several products of square matrices, as linear layers make them.

    A multiply-add is two. Of the largest matrices that do not take long: a processor without
    bfloat16 instructions multiplies such numbers a hundred times slower.
    """
    rate = math.inf
    for size in _MATMUL_SIZES:
        if 2 * size**3 / rate > _MATMUL_SECONDS:
            break
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        rate = 2 * size**3 / _best(partial(F.linear, a, b), device, repeats)
    return rate


def copy_bandwidth(device: str, repeats: int = 7) -> float:
    """Bytes per second read and written by the best of several copies of a large tensor."""
    source = torch.zeros(_COPY_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * _COPY_BYTES / _best(partial(target.copy_, source), device, repeats)


def available_memory(device: str) -> int:
    """Bytes that can still be taken; a large number where that is not known."""
    if device != 'cpu':
        return torch.cuda.mem_get_info(device)[0]
    return _meminfo('MemAvailable')


def _best(run: Run, device: str, repeats: int) -> float:
    run()
    return min(stopwatch(run, device) for _ in range(repeats))


def _processor() -> str:
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return platform.processor() or 'unknown'
    fields = {
        key: re.search(rf'^{key}\s*:\s*(.+)$', text, re.MULTILINE)
        for key in ('model name', 'cpu family', 'model')
    }
    if fields['model name'] is None:
        return platform.processor() or 'unknown'
    family, model = (fields[key][1] if fields[key] else '?' for key in ('cpu family', 'model'))
    return f'{fields["model name"][1]} (family {family}, model {model})'


def _total_memory() -> int:
    return _meminfo('MemTotal')


def _meminfo(key: str) -> int:
    try:
        text = Path('/proc/meminfo').read_text()
    except OSError:
        return 2**62
    return int(re.search(rf'^{key}:\s*(\d+) kB', text, re.MULTILINE)[1]) * 1024
