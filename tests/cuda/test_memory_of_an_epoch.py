"""Memory returns to its start after an epoch: nothing on the GPU is kept by accident."""

import gc

import pytest
import torch

from tests.helpers.gpu_model import small_model
from tools.benchmarks.tasks import Iteration, Segmentor

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
SIZES = [(64, 96), (96, 64), (64, 64)]


def bytes_after(epochs, run_epoch):
    """Bytes allocated after each epoch."""
    counts = []
    for _ in range(epochs):
        run_epoch()
        gc.collect()
        counts.append(torch.cuda.memory_allocated())
    return counts


@pytest.mark.parametrize('kind', [Iteration, Segmentor])
def test_every_epoch_ends_with_the_same_memory(kind, device='cuda'):
    """From the first on, which makes the optimiser's states and the libraries' workspaces."""
    measured = small_model()
    task = kind(measured, measured.build(device))

    def epoch():
        for size in SIZES:
            task(task.inputs(size, 2))

    first, *others = bytes_after(3, epoch)
    assert others == [first] * 2
