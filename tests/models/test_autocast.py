"""Mixed precision: nothing overflows, the pixel decoder stays in float32, gradients arrive."""

import pytest
import torch

from tests.helpers.small_head import DEVICES, build_head, feature_maps, head_config, samples

CLASSES_IN_VIEW, POINTS = 8, 12544  # their product overflows float16
GPU = DEVICES[1].marks
SETTINGS = [
    pytest.param('cpu', torch.bfloat16, id='cpu-bf16'),
    pytest.param('cuda', torch.float16, id='cuda-fp16', marks=GPU),
    pytest.param('cuda', torch.bfloat16, id='cuda-bf16', marks=GPU),
]


@pytest.mark.parametrize(('device', 'dtype'), SETTINGS)
def test_pixel_decoder_runs_in_float32(device, dtype):
    head = build_head(dtype=torch.float32).to(device)
    x = [f.to(device) for f in feature_maps(64, 96, dtype=torch.float32)]
    expected = head.pixel_decoder(x)
    with torch.autocast(device, dtype):
        got = head.pixel_decoder(x)
        rounded = head.pixel_decoder([f.to(dtype) for f in x])
    assert rounded[0].dtype == torch.float32
    torch.testing.assert_close(got[0], expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(('device', 'dtype'), SETTINGS)
def test_masks_beyond_half_precision_do_not_overflow(device, dtype):
    head = build_head(dtype=torch.float32).to(device)
    torch.nn.init.normal_(head.pixel_decoder.mask_feature.weight, std=1e4)
    x = [f.to(device) for f in feature_maps(64, 96, dtype=torch.float32)]
    with torch.autocast(device, dtype):
        class_logits, mask_logits = head(x)
    masks = torch.stack(mask_logits)
    assert masks.dtype == torch.float32
    assert masks.abs().max() > torch.finfo(torch.float16).max
    assert masks.isfinite().all()
    assert torch.stack(class_logits).isfinite().all()


@pytest.mark.parametrize(('device', 'dtype'), SETTINGS)
def test_close_to_float32(device, dtype):
    head = build_head(dtype=torch.float32).to(device)
    x = [f.to(device) for f in feature_maps(64, 96, dtype=torch.float32)]
    metas = [dict(img_shape=(64, 96))] * 2
    with torch.no_grad():
        expected = head.predict(x, metas, None)
        with torch.autocast(device, dtype):
            got = head.predict(x, metas, None)
    assert got.dtype == torch.float32
    assert (got - expected).abs().mean() < 0.05 * expected.abs().mean()


@pytest.mark.parametrize(('device', 'dtype'), SETTINGS)
def test_every_parameter_gets_a_gradient(device, dtype):
    """Weights first cast to half precision without gradient would silently lose theirs."""
    head = build_head(head_config(), torch.float32).to(device).train()
    x = [f.to(device) for f in feature_maps(64, 96, dtype=torch.float32)]
    labels = torch.randint(0, 5, (2, 64, 96), device=device)
    with torch.autocast(device, dtype):
        losses = head.loss(x, samples(labels), head.train_cfg)
    sum(losses.values()).backward()
    without = [name for name, param in head.named_parameters() if param.grad is None]
    assert without == []
    assert head.mask_embed[0].weight.grad.abs().sum() > 0
    assert all(param.grad.isfinite().all() for param in head.parameters())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('device', DEVICES)
def test_losses_are_those_of_float32(device, dtype):
    config = head_config(num_classes=CLASSES_IN_VIEW, num_queries=2 * CLASSES_IN_VIEW)
    config.train_cfg.num_points = POINTS
    head = build_head(config, torch.float32).to(device).train()
    x = [f.to(device) for f in feature_maps(64, 64, dtype=torch.float32)]
    labels = torch.arange(CLASSES_IN_VIEW, device=device).repeat_interleave(8).expand(2, 64, 64)
    losses = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast(device, dtype, enabled=enabled):
            losses.append(head.loss(x, samples(labels), head.train_cfg))
    for name, expected in losses[0].items():
        assert losses[1][name].dtype == torch.float32, name
        assert losses[1][name].item() == pytest.approx(expected.item(), rel=0.3), name
    torch.testing.assert_close(
        losses[1]['d0.loss_mask'], losses[0]['d0.loss_mask'], rtol=0.02, atol=0
    )
