"""MMEngine's activation checkpointing: less is kept, losses and gradients stay."""

import functools

import pytest
import torch
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing

from tests.helpers.live_tensors import LiveTensors
from tests.helpers.small_head import samples
from tests.helpers.small_segmentor import build_segmentor

HEAD = 'decode_head.'
MODULES = {
    'decoder layers': [f'{HEAD}transformer_decoder.layers.{i}' for i in range(13)],
    'encoder layers': [f'{HEAD}pixel_decoder.encoder.layers.{i}' for i in range(2)],
    'attention': [f'{HEAD}transformer_decoder.layers.3.cross_attn'],
    'pixel decoder': [f'{HEAD}pixel_decoder'],  # takes and returns lists
    'backbone stage': ['backbone.layer2'],
}


def train(modules):
    """Losses, gradients, and how often each checkpointed module ran."""
    model = build_segmentor().train()
    model.backbone.eval()
    turn_on_activation_checkpointing(model, modules)
    calls = dict.fromkeys(modules, 0)

    def count(name, *_):
        calls[name] += 1

    for name in modules:
        model.get_submodule(name).register_forward_hook(functools.partial(count, name))
    torch.manual_seed(1)
    labels = torch.randint(0, 5, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    with LiveTensors() as tensors:
        losses = model(torch.randn(2, 3, 64, 64), samples(labels), mode='loss')
    kept = tensors.now
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients, kept, calls


@pytest.fixture(scope='module')
def plain():
    return train([])


@pytest.mark.parametrize('modules', MODULES.values(), ids=MODULES.keys())
def test_same_losses_and_gradients_from_less_memory(plain, modules):
    losses, gradients, kept, calls = train(modules)
    assert losses == plain[0]
    assert gradients.keys() == plain[1].keys()
    for name, gradient in plain[1].items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert kept < plain[2]
    assert set(calls.values()) == {1}  # forward hooks see every module
