"""What PyTorch offers for any module works for this one, or says that it does not."""

import pytest
import torch

from tests.helpers.small_head import build_head, feature_maps
from tests.helpers.small_segmentor import build_segmentor


class FromMaps(torch.nn.Module):
    """A head as ``torch.jit.trace`` wants it: tensors in, tensors out."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, *maps):
        return self.head.predict_masks(maps)


class ClassMap(torch.nn.Module):
    """A segmentor as a function of images."""

    def __init__(self, segmentor):
        super().__init__()
        self.segmentor = segmentor

    def forward(self, images):
        return self.segmentor.predict(images)[0].pred_sem_seg.data


def maps(*size, batch=2):
    return feature_maps(*size, batch=batch, dtype=torch.float32)


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_trace_holds_for_its_size_and_refuses_others():
    head = build_head(dtype=torch.float32)
    with torch.no_grad():
        traced = torch.jit.trace(FromMaps(head), maps(64, 96), check_trace=False)
        x = [f.flip(-1) for f in maps(64, 96)]
        for got, expected in zip(traced(*x), head.predict_masks(x), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
        for other in (maps(96, 96), maps(64, 96, batch=1)):
            with pytest.raises(torch.jit.Error, match='images of the size that it was made with'):
                traced(*other)


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_trace_of_the_segmentor_tells_sizes_with_equal_maps_apart():
    """Maps of 63 x 63 and of 64 x 64 pixels have the same sizes."""
    class_map, image = ClassMap(build_segmentor()), torch.randn(1, 3, 64, 64)
    traced = torch.jit.trace(class_map, image, check_trace=False)
    assert torch.equal(traced(image.flip(-1)), class_map(image.flip(-1)))
    for height, width in [(63, 63), (64, 63), (96, 64)]:
        with pytest.raises(torch.jit.Error, match='images of the size that it was made with'):
            traced(torch.randn(1, 3, height, width))


# PyTorch's own still; torchao will take its place.
@pytest.mark.filterwarnings('ignore:torch.ao.quantization is deprecated')
def test_dynamic_quantisation_keeps_nearly_all_classes():
    model, image = build_segmentor(), torch.randn(1, 3, 64, 96)
    expected = model.predict(image)[0].pred_sem_seg.data
    quantised = torch.ao.quantization.quantize_dynamic(model, dtype=torch.qint8)
    offsets = quantised.decode_head.pixel_decoder.encoder.layers[0].self_attn.sampling_offsets
    assert offsets.weight().dtype == torch.qint8
    got = quantised.predict(image)[0].pred_sem_seg.data
    assert (got == expected).float().mean() > 0.95


def test_offsets_of_a_wrapped_layer_are_those_of_the_layer():
    """LoRA and its like put a module around a linear layer; its weights alone would be wrong."""
    head, x = build_head(), feature_maps(64, 96)
    expected = head.predict_masks(x)[1]
    for layer in head.pixel_decoder.encoder.layers:
        attn = layer.self_attn
        attn.sampling_offsets = torch.nn.Sequential(attn.sampling_offsets)
    torch.testing.assert_close(head.predict_masks(x)[1], expected, rtol=0, atol=1e-9)


def test_forward_hooks_see_every_layer():
    head, seen = build_head(), []
    layers = [*head.pixel_decoder.encoder.layers, *head.transformer_decoder.layers]
    parts = [layer.self_attn for layer in layers] + [layer.ffn for layer in layers]
    modules = [head.pixel_decoder, head.pixel_decoder.encoder, head.transformer_decoder]
    for module in (*modules, *layers, *parts):
        module.register_forward_hook(lambda module, *_: seen.append(module))
    head.predict_masks(feature_maps(64, 64))
    assert {id(module) for module in seen} == {id(module) for module in (*modules, *layers, *parts)}
