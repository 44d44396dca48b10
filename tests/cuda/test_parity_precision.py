"""Released checkpoints on a GPU: the authors' numbers in float32, their class maps in less."""

import numpy as np
import pytest
import torch

from tests.helpers.parity import MODELS, predictions_of
from tests.helpers.released import PARITY, image_of
from tools.benchmarks.models import PRECISIONS

pytestmark = [
    pytest.mark.full_size,
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]


def test_float32_predictions(converted, device='cuda'):
    name, model, _ = converted
    with PRECISIONS['float32'].float32_products(), torch.no_grad():
        _, differences = predictions_of(name, model, device, torch.float32)
    for array, difference in differences.items():
        assert difference.max() <= 1e-3, array


@pytest.mark.parametrize(
    ('precision', 'share'),
    [('float32', 0.9999), ('tf32', 0.995), ('bfloat16', 0.995), ('float16', 0.995)],
)
def test_class_maps(converted, precision, share, device='cuda'):
    name, model, _ = converted
    reference = np.load(PARITY / f'{name}.npz')['sem_label']
    image = image_of(name, MODELS[name]).to(device)
    precision = PRECISIONS[precision]
    autocast = torch.autocast(device, precision.autocast, enabled=precision.autocast is not None)
    with precision.float32_products(), autocast:
        samples = model.to(device).predict(image)
    labels = np.stack([sample.pred_sem_seg.data[0].cpu().numpy() for sample in samples])
    assert labels.shape == reference.shape
    assert (labels == reference).mean() >= share
