"""OpenMMLab's Mask2Former is recorded through a head of ours, which computes the same."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_faseg.explain import record
from mmseg_faseg.explain.as_faseg import as_faseg
from tests.helpers.configs import load
from tests.helpers.small_head import head_config
from tests.helpers.small_segmentor import BACKBONE


def segmentor_config():
    head = head_config('mask2former')
    head.in_channels = [4, 8, 16, 32]
    return ConfigDict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor'),
        backbone=BACKBONE,
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


@pytest.mark.parametrize('size', [(64, 96), (90, 75)])
@torch.no_grad()
def test_focus_is_that_of_the_stock_attention(size):
    init_default_scope('mmseg')
    config = segmentor_config()
    torch.manual_seed(0)
    stock = MODELS.build(config)
    stock.init_weights()
    stock.double().eval()
    for name, param in stock.decode_head.named_parameters():
        if 'sampling_offsets' in name or 'attention_weights' in name:
            torch.nn.init.normal_(param)
    torch.nn.init.normal_(stock.decode_head.mask_embed[-1].weight)
    ours = MODELS.build(as_faseg(config)).double().eval()
    ours.load_state_dict(stock.state_dict())
    expected = []
    for layer in stock.decode_head.transformer_decoder.layers:
        # MMCV drops the averaged weights that PyTorch's attention gives.
        layer.cross_attn.attn.register_forward_hook(lambda *hooked: expected.append(hooked[-1][1]))
    inputs = torch.randn(1, 3, *size, dtype=torch.float64)
    class_logits, mask_logits = stock.decode_head(stock.extract_feat(inputs), None)
    recorded = record(ours, inputs)
    torch.testing.assert_close(recorded.class_logits, class_logits[-1], rtol=0, atol=1e-9)
    torch.testing.assert_close(recorded.mask_logits, mask_logits[-1], rtol=0, atol=1e-9)
    assert len(expected) == len(recorded.layers) == 9
    for layer, focus in zip(recorded.layers, expected, strict=True):
        torch.testing.assert_close(layer.focus, focus, rtol=0, atol=1e-9)


def test_detectors_too():
    config = load('mask2former_toy-panoptic').model
    torch.manual_seed(0)
    stock, ours = MODELS.build(config), MODELS.build(as_faseg(config))
    ours.load_state_dict(stock.state_dict())
    assert len(record(ours.eval(), torch.randn(1, 3, 64, 64)).layers) == 6


def test_other_configs_stay_what_they_are():
    for name in ('faseg_toy', 'mask2former_toy'):
        config = load(name).model
        before = config.to_dict()
        changed = as_faseg(config)
        assert config.to_dict() == before
        assert (changed.to_dict() == before) == (name == 'faseg_toy')
