"""``torch.compile`` of the head in one graph and of whole models: the same numbers at any size."""

import pytest
import torch
from mmengine.structures import PixelData

from tests.helpers.small_head import build_head, feature_maps, head_config
from tests.helpers.small_segmentor import build_segmentor, sample

SIZE = (64, 96)
# A layer on each level, the second round's first, and one layer in the encoder.
LAYERS = {'transformer_decoder.num_layers': 5, 'pixel_decoder.encoder.num_layers': 1}


@pytest.fixture(autouse=True)
def forget_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.compile
# All pixels: their scores have ties at the borders, where rounding decides which of them to take.
@pytest.mark.parametrize(('region', 'ratio'), [('block', 1 / 32), ('pixel', 1)])
def test_no_graph_breaks_in_prediction(region, ratio):
    hrca = {'high_res_attn.region': region, 'high_res_attn.ratio': ratio}
    config = head_config(**LAYERS, **hrca)
    head, x = build_head(config), feature_maps(*SIZE)
    compiled = torch.compile(head.predict_masks, backend='aot_eager', fullgraph=True)
    with torch.no_grad():
        for got, expected in zip(compiled(x), head.predict_masks(x), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


@pytest.mark.compile
def test_no_graph_breaks_in_training():
    head, x = build_head(head_config(**LAYERS)).train(), feature_maps(*SIZE)
    compiled = torch.compile(head.forward, backend='aot_eager', fullgraph=True)
    gradients = []
    for forward in (compiled, head):
        head.zero_grad()
        class_logits, mask_logits = forward(x)
        sum(p.square().mean() for p in class_logits + mask_logits).backward()
        gradients.append({n: p.grad for n, p in head.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.compile
def test_generated_code_gives_the_same_predictions():
    head = build_head(head_config(**LAYERS), torch.float32)
    x = feature_maps(*SIZE, dtype=torch.float32)
    compiled = torch.compile(head.predict_masks, fullgraph=True)
    with torch.no_grad():
        for got, expected in zip(compiled(x), head.predict_masks(x), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


SIZES = [(64, 64), (64, 96)]  # for the second the compiler makes a graph for all sizes


@pytest.mark.compile
def test_generated_code_of_a_model_predicts_at_a_second_size():
    model = build_segmentor(**LAYERS)
    model.keep_scores = True
    compiled = torch.compile(model.forward)
    for size in SIZES:
        images = torch.rand(1, 3, *size)
        got, expected = (
            forward(images, [sample(size, size)], mode='predict')[0].seg_logits.data
            for forward in (compiled, model.forward)
        )
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.compile
@pytest.mark.parametrize('mask_pilot', [None, dict()], ids=['', 'piloted'])
def test_compiled_training_at_a_second_size(mask_pilot):
    """What ``compile=True`` of MMEngine's runner compiles."""
    # In float64: rounding decides which points of a mask are the least certain ones.
    model = build_segmentor(**LAYERS, mask_pilot=mask_pilot).double().train()
    compiled = torch.compile(model.forward, backend='aot_eager')
    for size in SIZES:
        got, expected = (_losses_and_gradients(model, f, size) for f in (compiled, model.forward))
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


def _losses_and_gradients(model, forward, size):
    torch.manual_seed(0)  # batch norm and the points at which losses are taken
    model.zero_grad()
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    samples = [sample(size, size) for _ in images]
    for data_sample in samples:
        labels = torch.randint(0, 4, (1, size[0] // 16, size[1] // 16))
        data_sample.gt_sem_seg = PixelData(
            data=labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
        )
    losses = forward(images, samples, mode='loss')
    model.parse_losses(losses)[0].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: loss.detach() for name, loss in losses.items()} | gradients
