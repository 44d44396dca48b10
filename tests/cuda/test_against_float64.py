"""Head and losses on a GPU in float32 and float64, against a CPU in float64."""

import pytest
import torch

from mmseg_faseg.models.losses.masks import MaskProduct
from tests.helpers.losses import build_losses, predictions_of, product_of, targets_of
from tests.helpers.small_head import build_head, feature_maps, head_config, samples

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
# Of float32: the other order of its sums, over a dozen layers.
TOLERANCES = [
    pytest.param(torch.float32, 1e-3, id='float32'),
    pytest.param(torch.float64, 1e-9, id='float64'),
]
COUNTS = [3, 0, 4]  # targets of the images


@pytest.fixture(autouse=True)
def exact_products():
    """Convolutions on a GPU round float32 to TF32 unless they are told not to."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.fixture
def same_points(monkeypatch):
    """Lets ``torch.rand`` draw on the CPU, whatever the device; returns what starts it anew."""
    draw, shared = torch.rand, torch.Generator()

    def rand(*size, generator=None, device=None):
        return draw(*size, generator=shared).to(device)

    monkeypatch.setattr(torch, 'rand', rand)
    return lambda: shared.manual_seed(0)


def relative_errors(got, expected):
    """Norm of each difference, as a share of the norm."""
    assert got.keys() == expected.keys()
    tiny = 1e-6 * max(x.norm() for x in expected.values())
    return {
        name: ((got[name].cpu().double() - x).norm() / (x.norm() + tiny)).item()
        for name, x in expected.items()
    }


def predictions_and_gradients(device, dtype):
    head = build_head().to(device, dtype)
    x = [f.to(device, dtype).requires_grad_() for f in feature_maps(64, 96)]
    class_logits, mask_logits = (torch.stack(logits) for logits in head(x))
    (class_logits.square().mean() + mask_logits.square().mean()).backward()
    gradients = {name: p.grad for name, p in head.named_parameters() if p.grad is not None}
    gradients.update({f'map {i}': f.grad for i, f in enumerate(x)})
    return dict(classes=class_logits.detach(), masks=mask_logits.detach()), gradients


@pytest.mark.parametrize(('dtype', 'tolerance'), TOLERANCES)
def test_predictions_and_gradients_of_the_head(dtype, tolerance, device='cuda'):
    expected, expected_gradients = predictions_and_gradients('cpu', torch.float64)
    got, gradients = predictions_and_gradients(device, dtype)
    for name, logits in expected.items():
        assert (got[name].cpu().double() - logits).abs().max() <= tolerance, name
    for name, error in relative_errors(gradients, expected_gradients).items():
        assert error <= 10 * tolerance, name


def losses_of_equal_predictions(device, dtype):
    head = build_losses()
    leaves = [predictions_of(len(COUNTS))[0], *product_of(len(COUNTS))]
    leaves = [x.detach().to(device, dtype).requires_grad_() for x in leaves]
    losses = head.losses_of(
        leaves[0],
        MaskProduct(*leaves[1:]),
        targets_of(COUNTS, device=device),
    )
    sum(value.sum() for value in losses.values()).backward()
    names = ('classes', 'embeddings', 'features', 'bias')
    gradients = {name: x.grad for name, x in zip(names, leaves, strict=True)}
    return {name: value.detach() for name, value in losses.items()}, gradients


@pytest.mark.parametrize(('dtype', 'tolerance'), TOLERANCES)
def test_losses_of_the_same_predictions(dtype, tolerance, same_points, device='cuda'):
    same_points()
    expected, expected_gradients = losses_of_equal_predictions('cpu', torch.float64)
    same_points()
    got, gradients = losses_of_equal_predictions(device, dtype)
    assert max(relative_errors(got, expected).values()) <= tolerance
    # Which of two points with equal logits is the more uncertain one is left to rounding.
    assert max(relative_errors(gradients, expected_gradients).values()) <= 10 * tolerance


def losses_of_images(device, dtype):
    head = build_head(head_config()).to(device, dtype).train()
    x = [f.to(device, dtype) for f in feature_maps(64, 96)]
    labels = torch.arange(5).repeat_interleave(20)[:96].expand(2, 64, 96)
    losses = head.loss(x, samples(labels.to(device)), head.train_cfg)
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in head.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


@pytest.mark.parametrize(('dtype', 'tolerance'), TOLERANCES)
def test_losses_and_gradients_of_the_whole_head(dtype, tolerance, same_points, device='cuda'):
    same_points()
    expected, expected_gradients = losses_of_images('cpu', torch.float64)
    same_points()
    got, gradients = losses_of_images(device, dtype)
    assert len(got) == 42
    assert max(relative_errors(got, expected).values()) <= 10 * tolerance
    errors = relative_errors(gradients, expected_gradients)
    assert max(errors.values()) <= 50 * tolerance, max(errors, key=errors.get)
