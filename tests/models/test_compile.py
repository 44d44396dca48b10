"""``torch.compile`` of the head: one graph, the same numbers."""

import pytest
import torch

from tests.helpers.small_head import build_head, feature_maps, head_config

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
