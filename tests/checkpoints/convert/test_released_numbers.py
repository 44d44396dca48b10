"""Released checkpoints, converted, give the numbers of the authors' code: data/parity/README.md."""

import copy

import numpy as np
import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model

from mmseg_faseg.apis.convert import convert_file
from tests.helpers.released import PARITY, image_of, made_up, shapes_of
from tests.helpers.small_head import DEVICES
from tools.benchmarks.models import PRECISIONS

MODELS = {
    'r50_ade20k_320x256': (1, 3, 320, 256),
    'swin-t_ade20k_256x320': (2, 3, 256, 320),
}
pytestmark = pytest.mark.full_size


@pytest.fixture(scope='module', params=MODELS)
def converted(request, tmp_path_factory):
    """The reference's name, the released keys, the model and where its parameters came from."""
    folder = tmp_path_factory.mktemp('released')
    shapes = shapes_of(request.param.rsplit('_', 1)[0])
    weights = {key: made_up(key, shape) for key, shape in shapes.items()}
    torch.save(dict(model=weights), folder / 'released.pth')
    done = convert_file(str(folder / 'released.pth'), str(folder / 'ours.pth'))
    model = init_model(done.config, device='cpu')
    load_checkpoint(model, str(folder / 'ours.pth'), strict=True)
    return request.param, model.eval(), done.sources


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def predictions_of(name, model, device, dtype):
    """What the reference files hold, by name, and the difference from them."""
    reference = np.load(PARITY / f'{name}.npz')
    image = image_of(name, MODELS[name]).to(device, dtype)
    with PRECISIONS['float32'].float32_products():
        class_logits, mask_logits = model.to(device, dtype)(image)
    predictions = {
        'pred_logits': torch.stack(class_logits),
        'aux_mask_mean': torch.stack(mask_logits).mean((-2, -1)),
        'pred_masks': mask_logits[-1],
    }
    differences = {
        array: (got.detach().cpu() - torch.from_numpy(reference[array])).abs()
        for array, got in predictions.items()
    }
    return predictions, differences


def test_predictions_without_rounding(converted):
    """In float64, so that what is left is the reference's own rounding."""
    name, model, _ = converted
    with torch.no_grad():
        _, differences = predictions_of(name, copy.deepcopy(model), 'cpu', torch.float64)
    for array, difference in differences.items():
        assert difference.max() <= 1e-4, array


def test_predictions_and_gradients(converted, device):
    """In float32, where rounding may decide whether a query attends to a pixel.

    One of Swin-T's million mask logits that are compared with the attention threshold lies 6e-7
    from it, less than their rounding. That query's predictions move by 3e-4 when it falls on the
    other side.
    """
    name, model, sources = converted
    model.zero_grad()
    predictions, differences = predictions_of(name, model, device, torch.float32)
    for array, difference in differences.items():
        assert difference.max() <= 1e-3, array
    queries = differences['pred_logits'].amax((0, 3))
    if device == 'cpu':
        assert (queries > 1e-4).sum() <= 1

    final_masks, final_classes = predictions['pred_masks'], predictions['pred_logits'][-1]
    with PRECISIONS['float32'].float32_products():
        (final_classes.square().mean() + final_masks.square().mean()).backward()
    reference = np.load(PARITY / f'{name}.npz')
    compared = 0
    for param_name, param in model.named_parameters():
        if f'grad_l2/{sources[param_name]}' in reference:
            expected = float(reference[f'grad_l2/{sources[param_name]}'])
            got = param.grad.norm().item()
            assert got == pytest.approx(expected, rel=0.01), param_name
            compared += 1
    assert compared == sum(array.startswith('grad_l2/') for array in reference)


def test_class_map(converted, device):
    name, model, _ = converted
    reference = np.load(PARITY / f'{name}.npz')
    model = model.to(device)
    with PRECISIONS['float32'].float32_products():
        samples = model.predict(image_of(name, MODELS[name]).to(device))
    for sample, expected in zip(samples, reference['sem_label'], strict=True):
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        assert labels.shape == expected.shape
        assert (labels == expected).mean() >= 0.9999
