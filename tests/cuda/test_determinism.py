"""``randomness=dict(seed=0, deterministic=True)``: what is the same from run to run."""

import json
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.tools import REPOSITORY, run

pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
SCRIPT = Path(__file__).with_name('reproduce.py')
BACKENDS = ['grid_sample', 'embedding_bag', 'auto']  # 'auto' is MMCV's where that is built


def reproduce(what, device, backend, cwd):
    variables = dict(CUBLAS_WORKSPACE_CONFIG=':4096:8', PYTHONPATH=REPOSITORY)
    result = run(sys.executable, SCRIPT, what, device, backend, cwd=cwd, **variables)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize('backend', BACKENDS)
def test_inference_is_bit_identical(backend, tmp_path, device='cuda'):
    digests = []
    for _ in range(2):
        digests += reproduce('predict', device, backend, tmp_path)['digests']
    assert len(digests) == 4
    assert len(set(digests)) == 1


@pytest.mark.parametrize('backend', BACKENDS)
def test_training_is_refused_or_bit_identical(backend, tmp_path, record_property, device='cuda'):
    """PyTorch refuses kernels that it knows to vary; where it does, their names are recorded.

    Of MMCV's operator, whose backward pass adds in any order, PyTorch knows nothing: with it the
    weights may differ.
    """
    first = reproduce('train', device, backend, tmp_path)
    record_property('refused with deterministic=True', first['refused'])
    anyway = reproduce('train_anyway', device, backend, tmp_path)
    record_property('kernels warned about', anyway['warned'])
    print(f'{backend}: refused {first["refused"]}, warned about {anyway["warned"]}')
    if first['refused'] is not None:
        assert first['refused'] in anyway['warned']
    elif backend != 'auto':
        assert reproduce('train', device, backend, tmp_path) == first
