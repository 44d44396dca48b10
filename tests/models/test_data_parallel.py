"""Each variant trains in several processes, one of them without a labelled pixel."""

import socket

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from tests.helpers.small_head import CLASSES, build_head, feature_maps, head_config, samples

pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.skipif(
        not distributed.is_gloo_available(), reason='PyTorch was built without gloo'
    ),
]

LEARNED = dict(type='LearnedPositionalQuery')
NO_HRCA = {
    'num_transformer_feat_level': 3,
    'high_res_attn': None,
    'transformer_decoder.num_layers': 10,
}
VARIANTS = dict(
    faseg={},
    paper={
        'positional_query.first_region': 'foreground',
        'high_res_attn.region': 'pixel',
        'high_res_attn.query_pos': 'dynamic',
    },
    learned=dict(positional_query=LEARNED),
    anchor=dict(positional_query=dict(type='AnchorPositionalQuery')),
    no_hrca=NO_HRCA,
    mask2former=NO_HRCA | dict(positional_query=LEARNED, mask_threshold=0.5),
    mask_pilot=dict(mask_pilot=dict()),
    anchor_pilot=dict(positional_query=dict(type='AnchorPositionalQuery'), mask_pilot=dict()),
    add_sinusoid={'positional_encoding.add_sinusoid': True},
    mask_box={'positional_query.mask_box': True},
)


def losses(head, rank):
    """Of a batch; that of the second process is ignored altogether."""
    generator = torch.Generator().manual_seed(rank)
    labels = torch.randint(0, CLASSES, (2, 4, 4), generator=generator)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    if rank == 1:
        labels[:] = 255
    return head.loss(feature_maps(64, 64, batch=2), samples(labels), None)


class Loss(torch.nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, rank):
        return sum(losses(self.head, rank).values())


def check_variant(variant, rank):
    head = build_head(head_config(**VARIANTS[variant])).train()
    model = DistributedDataParallel(Loss(head))
    for iteration in range(2):  # the second one tells whether the first one used all of it
        torch.manual_seed(10 * iteration + rank)
        loss = model(rank)
        assert loss.isfinite(), variant
        loss.backward()
    for name, parameter in head.named_parameters():
        first = parameter.grad.clone()
        distributed.broadcast(first, 0)
        assert first.isfinite().all() and torch.equal(parameter.grad, first), (variant, name)


def train(rank, processes, port, variants):
    address = f'tcp://127.0.0.1:{port}'
    distributed.init_process_group('gloo', address, rank=rank, world_size=processes)
    torch.set_num_threads(1)
    for variant in variants:
        check_variant(variant, rank)
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    ('processes', 'variants'), [(2, list(VARIANTS)), (4, ['paper', 'mask_pilot'])], ids=str
)
def test_variants(processes, variants):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train, (processes, port, variants), nprocs=processes)
