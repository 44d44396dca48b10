"""Says what a run came to, as one line of JSON: test_determinism.py runs it several times.

A process of its own, since cuBLAS reads CUBLAS_WORKSPACE_CONFIG once, and since
``deterministic=True`` changes global flags.
"""

import hashlib
import json
import re
import sys
import warnings

import torch
from mmengine.runner import set_random_seed
from torch import Tensor

from tests.helpers.gpu_model import BACKEND, small_model
from tools.benchmarks.tasks import Iteration, Segmentor

SIZE, BATCH, ITERATIONS = (96, 128), 2, 2
_REFUSED = re.compile(r'^(\S+) does not have a deterministic implementation')


def digest(tensors: list[Tensor]) -> str:
    """Changes with every bit of the tensors."""
    result = hashlib.sha256()
    for x in tensors:
        result.update(x.detach().cpu().contiguous().numpy().tobytes())
    return result.hexdigest()


def predict(device: str, backend: str) -> dict:
    """Class maps and scores, from the image, twice in this process."""
    measured = small_model({BACKEND: backend, 'model.keep_scores': True})
    task = Segmentor(measured, measured.build(device))
    inputs = task.inputs(SIZE, BATCH)
    digests = []
    for _ in range(2):
        samples = task(inputs)
        kinds = ('pred_sem_seg', 'seg_logits')
        digests.append(digest([sample.get(kind).data for sample in samples for kind in kinds]))
    return dict(digests=digests)


def train(device: str, backend: str) -> dict:
    """Weights after some iterations, or the kernel that PyTorch refuses to run."""
    measured = small_model({BACKEND: backend})
    task = Iteration(measured, measured.build(device))
    inputs = task.inputs(SIZE, BATCH)
    torch.manual_seed(0)
    try:
        for _ in range(ITERATIONS):
            task(inputs)
    except RuntimeError as error:
        found = _REFUSED.search(str(error))
        if not found:
            raise
        return dict(refused=found[1])
    return dict(refused=None, digests=[digest(list(task.model.state_dict().values()))])


def train_anyway(device: str, backend: str) -> dict:
    """All kernels that PyTorch would refuse, found with warnings in place of errors."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        result = train(device, backend)
    found = [_REFUSED.search(str(warning.message)) for warning in caught]
    return dict(result, warned=sorted({match[1] for match in found if match}))


def main() -> None:
    """Runs what the first argument names on the device and with the back end that follow."""
    what, device, backend = sys.argv[1:]
    # As the Runner with randomness=dict(seed=0, deterministic=True).
    set_random_seed(0, deterministic=True)
    run = dict(predict=predict, train=train, train_anyway=train_anyway)[what]
    print(json.dumps(run(device, backend)))


if __name__ == '__main__':
    main()
