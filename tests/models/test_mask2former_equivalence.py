"""In Mask2Former's configuration, FASegHead is MMSegmentation's Mask2FormerHead."""

import pytest
import torch
from mmseg.registry import MODELS

from tests.helpers.small_head import CLASSES, WIDTH, build_head, feature_maps, head_config, samples


@pytest.fixture(scope='module')
def heads():
    stock = build_head(head_config('mask2former'))
    config = head_config(
        num_transformer_feat_level=3,
        mask_threshold=0.5,
        high_res_attn=None,
        positional_query=dict(type='LearnedPositionalQuery'),
        positional_encoding=dict(
            type='mmdet.SinePositionalEncoding', num_feats=WIDTH // 2, normalize=True
        ),
    )
    config.transformer_decoder.num_layers = 9
    ours = build_head(config)
    ours.load_state_dict(stock.state_dict())
    return ours, stock


@pytest.mark.parametrize('size', [(64, 96), (90, 75)])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_same_predictions(heads, size, dtype, tolerance):
    ours, stock = (head.to(dtype) for head in heads)
    x = feature_maps(*size, dtype=dtype)
    with torch.no_grad():
        for got, expected in zip(ours(x), stock(x, None), strict=True):
            assert len(got) == len(expected) == 10
            torch.testing.assert_close(
                torch.stack(got), torch.stack(expected), rtol=0, atol=tolerance
            )


@pytest.mark.parametrize('ignored', ['none', 'border', 'one image', 'everything'])
def test_same_losses(heads, ignored):
    ours, stock = (head.float() for head in heads)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (2, 4, 6), generator=generator)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    if ignored == 'border':
        labels[:, :8] = 255
    elif ignored == 'one image':
        labels[1] = 255
    elif ignored == 'everything':
        labels[:] = 255
    x = feature_maps(64, 96, dtype=torch.float32)
    predictions = stock(x, None)
    losses = []
    for head in (ours, stock):
        torch.manual_seed(3)
        instances = head._seg_data_to_instance_data(samples(labels))
        losses.append(head.loss_by_feat(*predictions, *instances))
    assert losses[0].keys() == losses[1].keys()
    for name, expected in losses[1].items():
        torch.testing.assert_close(losses[0][name], expected, rtol=1e-5, atol=0, msg=name)


def test_same_parameter_names(heads):
    ours, stock = heads
    assert ours.state_dict().keys() == stock.state_dict().keys()


def test_takes_the_config_of_mmsegmentation():
    """A stock config runs when only the types change, K_p and the level count following it."""
    config = head_config('mask2former')
    config.type = 'FASegHead'
    config.pixel_decoder.type = 'FASegPixelDecoder'
    config.update(strides=[4, 8, 16, 32], enforce_decoder_input_project=False, align_corners=False)
    del config.pixel_decoder['positional_encoding'], config.pixel_decoder['num_outs']
    head = MODELS.build(config)
    assert head.num_transformer_feat_level == 3
    assert len(head(feature_maps(64, 64, dtype=torch.float32))[0]) == 10
