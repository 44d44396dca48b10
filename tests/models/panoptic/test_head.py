"""FASegPanopticHead keeps MMDetection's contract and, as Mask2Former, its numbers."""

import pytest
import torch
from torch import Tensor

from mmseg_faseg.models import FASegPanopticHead
from mmseg_faseg.models.losses import MaskTensors
from tests.helpers.small_detector import (
    MASK2FORMER,
    SIZE,
    STUFF,
    THINGS,
    build_detector,
    images,
    our_head,
    stock_head,
)
from tests.helpers.small_head import feature_maps


@pytest.mark.parametrize('mask_pilot', [None, dict()], ids=['', 'piloted'])
@pytest.mark.parametrize('stuff', [STUFF, 0], ids=['panoptic', 'instances'])
def test_mmdetections_detector_trains_and_predicts(stuff, mask_pilot):
    torch.manual_seed(0)
    model = build_detector(our_head(mask_pilot=mask_pilot), stuff)
    model.init_weights()
    torch.nn.init.normal_(model.panoptic_head.cls_embed.weight)
    inputs = torch.randn(2, 3, *SIZE)
    losses = model.train()(inputs, images(stuff=stuff), mode='loss')
    assert len(losses) == (14 if mask_pilot is None else 14 + 13) * 3
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []

    with torch.no_grad():
        results = model.eval()(inputs, images(stuff=stuff), mode='predict')
    for result in results:
        assert result.pred_instances.masks.shape[1:] == SIZE
        assert len(result.pred_instances.labels) > 0
        assert result.pred_instances.labels.max() < THINGS
        if stuff:
            panoptic = result.pred_panoptic_seg.sem_seg
            assert panoptic.shape == (1, *SIZE)
            # MMDetection marks pixels of nobody with the number of classes.
            assert (panoptic % 1000).max() <= THINGS + STUFF


@pytest.fixture(scope='module')
def heads():
    """Ours in Mask2Former's configuration and MMDetection's, with the same weights."""
    torch.manual_seed(0)
    models = [build_detector(our_head(**MASK2FORMER)), build_detector(stock_head())]
    stock = models[1].panoptic_head
    stock.init_weights()
    for name, param in stock.named_parameters():
        if 'sampling_offsets' in name or 'attention_weights' in name:
            torch.nn.init.normal_(param)
    torch.nn.init.normal_(stock.mask_embed[-1].weight, std=0.5)
    models[0].panoptic_head.load_state_dict(stock.state_dict())
    return [model.panoptic_head for model in models]


def maps(dtype) -> list[Tensor]:
    return feature_maps(*SIZE, dtype=dtype, channels=[4, 8, 16, 32])


def test_logits_and_masks_are_those_of_mmdetections_head(heads):
    x = maps(torch.float64)
    with torch.no_grad():
        for got, expected in zip(*(head.double()(x, None) for head in heads), strict=True):
            assert len(got) == len(expected) == 10
            torch.testing.assert_close(torch.stack(got), torch.stack(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize('stuff', [STUFF, 0], ids=['panoptic', 'instances'])
def test_losses_are_those_of_mmdetections_head(heads, stuff, monkeypatch):
    for head in heads:
        monkeypatch.setattr(head, 'num_stuff_classes', stuff)
    samples = images(stuff=stuff)
    if not stuff:
        for sample in samples:
            del sample.gt_sem_seg
    ours, stock = (head.float() for head in heads)
    x, losses = maps(torch.float32), []
    # The same predictions: which of two points is less certain is left to a mask's last bit.
    class_logits, masks = stock(x, None)
    predictions = torch.stack(class_logits), MaskTensors(masks)
    monkeypatch.setattr(ours, '_predictions', lambda *_: predictions)
    for head in (ours, stock):
        torch.manual_seed(3)
        losses.append(head.loss(x, samples))
    assert losses[0].keys() == losses[1].keys()
    for name, expected in losses[1].items():
        torch.testing.assert_close(losses[0][name], expected, rtol=1e-5, atol=0, msg=name)


def test_losses_from_maps_are_those_of_mmdetections_head(heads):
    """From end to end; rounding may change which of two points is the less certain one."""
    losses = []
    for head in heads:
        torch.manual_seed(3)
        losses.append(head.float().loss(maps(torch.float32), images()))
    for name, expected in losses[1].items():
        torch.testing.assert_close(losses[0][name], expected, rtol=1e-4, atol=0, msg=name)


@pytest.mark.parametrize(
    ('things', 'stuff', 'message'),
    [(-1, 2, 'num_things_classes must be at least 0, got -1'), (0, 0, 'are both 0')],
)
def test_numbers_of_classes_that_cannot_be(things, stuff, message):
    head = our_head()
    with pytest.raises(ValueError, match=message):
        FASegPanopticHead(
            **{k: v for k, v in head.items() if k != 'type'},
            num_things_classes=things,
            num_stuff_classes=stuff,
        )
