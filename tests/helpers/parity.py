"""Released checkpoints with made-up weights, converted, beside the authors' numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model

from mmseg_faseg.apis.convert import convert_file
from tests.helpers.released import PARITY, image_of, made_up, shapes_of

MODELS = {
    'r50_ade20k_320x256': (1, 3, 320, 256),
    'swin-t_ade20k_256x320': (2, 3, 256, 320),
}


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


@contextmanager
def without_tf32() -> Iterator[None]:
    """A GPU keeps all bits of float32 in convolutions too; in products it does anyway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, 'allow_tf32', False)
        yield


def predictions_of(name, model, device, dtype):
    """What the reference files hold, by name, and the difference from them."""
    reference = np.load(PARITY / f'{name}.npz')
    image = image_of(name, MODELS[name]).to(device, dtype)
    with without_tf32():
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
