"""Released checkpoints, converted, give the numbers of the authors' code: data/parity/README.md."""

import numpy as np
import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from models.small import DEVICES

from mmseg_faseg.convert import convert_file

from .released import PARITY, image_of, made_up, shapes_of

MODELS = {
    'r50_ade20k_320x256': (1, 3, 320, 256),
    'swin-t_ade20k_256x320': (2, 3, 256, 320),
}
pytestmark = pytest.mark.slow


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


def test_predictions_and_gradients(converted, device):
    name, model, sources = converted
    model = model.to(device)
    model.zero_grad()
    reference = np.load(PARITY / f'{name}.npz')
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        class_logits, mask_logits = model(image_of(name, MODELS[name]).to(device))
    for array, got in {
        'pred_logits': torch.stack(class_logits),
        'aux_mask_mean': torch.stack(mask_logits).mean((-2, -1)),
        'pred_masks': mask_logits[-1],
    }.items():
        expected = torch.from_numpy(reference[array])
        torch.testing.assert_close(got.detach().cpu(), expected, rtol=0, atol=1e-4, msg=array)

    (class_logits[-1].square().mean() + mask_logits[-1].square().mean()).backward()
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
    samples = model.predict(image_of(name, MODELS[name]).to(device))
    for sample, expected in zip(samples, reference['sem_label'], strict=True):
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        assert labels.shape == expected.shape
        assert (labels == expected).mean() >= 0.9999
