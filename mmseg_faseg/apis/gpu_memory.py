"""Training that needs more memory than the GPU has: says which batch size should fit."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from ..errors import UserError

_UNITS = {'bytes': 1, 'KiB': 2**10, 'MiB': 2**20, 'GiB': 2**30}


@contextmanager
def explained_out_of_memory(runner: Runner) -> Iterator[None]:
    """Turns ``torch.OutOfMemoryError`` of a training iteration into one line.

    Raises:
        UserError: Names ``train_dataloader.batch_size``, what it is, and one that should fit.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        if not runner.model.training:  # of validation, which has a batch size of its own
            raise
        message = _message(runner, str(error))
        if int(os.environ.get('LOCAL_RANK', 0)) > 0:  # others may be well, and the first silent
            print(f'error: {message}', file=sys.stderr)
        raise UserError(message) from None


def batch_that_fits(batch: int, needed: int, fixed: int, capacity: int) -> int:
    """The largest divisor of a batch size that should fit, 0 if not even one image should.

    Memory beyond what is fixed grows by as much with every image. A divisor, so that accumulating
    gradients gives the batch that was asked for.

    Args:
        batch: Images that did not fit.
        needed: Bytes asked for until the failure: the whole iteration may need more.
        fixed: Bytes of weights, gradients and the optimiser's state.
        capacity: Bytes that the GPU can give this process.
    """
    per_image = max(needed - fixed, 1) / batch
    most = (capacity - fixed) // per_image
    return max((n for n in range(1, batch) if batch % n == 0 and n <= most), default=0)


def _message(runner: Runner, error: str) -> str:
    batch = runner.cfg.train_dataloader.get('batch_size', 1)
    parts = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
    capacity = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    needed = torch.cuda.max_memory_allocated() + _requested(error)
    what = (
        f'the GPU has too little memory for train_dataloader.batch_size={batch}: it was asked for '
        f'{needed / 2**30:.1f} GiB and more, and can give {capacity / 2**30:.1f} GiB'
    )
    fits = batch_that_fits(batch, needed, _fixed(runner), capacity)
    if not fits:
        return f'{what}; a smaller batch would not help: take smaller crops, or --amp'
    return (
        f'{what}. By that, --cfg-options train_dataloader.batch_size={fits} '
        f'optim_wrapper.accumulative_counts={parts * batch // fits} should fit and sum the '
        'gradients of as many images'
    )


def _requested(error: str) -> int:
    """Bytes of the request that failed, which PyTorch's message names."""
    match = re.search(r'Tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)', error)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def _fixed(runner: Runner) -> int:
    """Bytes of weights, gradients and the optimiser's state, as far as they are there."""
    params = list(runner.model.parameters())
    tensors = [*params, *(param.grad for param in params if param.grad is not None)]
    wrapper = runner.optim_wrapper
    states = wrapper.optimizer.state if isinstance(wrapper, OptimWrapper) else {}
    for state in states.values():
        tensors += [value for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.nbytes for tensor in tensors)
