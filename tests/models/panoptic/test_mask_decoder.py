"""The mask decoder of Panoptic SegFormer gives what the released one gives."""

import zlib
from ast import literal_eval

import numpy as np
import pytest
import torch

from mmseg_faseg.checkpoints.convert.key_tables import PANOPTIC_SEGFORMER, look_up
from mmseg_faseg.models.panoptic.mask_decoder import MaskDecoder
from tests.helpers.released import PARITY, made_up

FOLDER = PARITY / 'panoptic_segformer'
SIZES = [(16, 20), (8, 10), (4, 5)]
DECODERS = dict(things=dict(num_layers=4), stuff=dict(num_layers=6, self_attention=True))


def given(name, *shape):
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f'input:{name}'.encode())))
    return torch.from_numpy(generator.standard_normal(shape, np.float32))


def released(kind):
    """A decoder with the made-up weights of the reference."""
    decoder = MaskDecoder(**DECODERS[kind])
    weights = {}
    for line in (FOLDER / f'{kind}_keys.txt').read_text().splitlines():
        key, shape = line.split('\t')
        name = look_up(PANOPTIC_SEGFORMER, f'bbox_head.{key}')
        weights[name.removeprefix(f'bbox_head.{kind}_decoder.')] = made_up(key, literal_eval(shape))
    decoder.load_state_dict(weights)
    return decoder.eval()


def inputs(kind):
    queries = {'things': 12, 'stuff': 9}[kind]
    query_pos = given('stuff_query_pos', 2, 9, 256) if kind == 'stuff' else None
    return given(f'{kind}_query', 2, queries, 256), given('memory', 2, 420, 256), SIZES, query_pos


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('kind', DECODERS)
def test_the_released_numbers(kind, dtype):
    reference = np.load(FOLDER / 'mask_decoder.npz')
    query, memory, sizes, query_pos = inputs(kind)
    query_pos = None if query_pos is None else query_pos.to(dtype)
    with torch.no_grad():
        found = released(kind).to(dtype)(query.to(dtype), memory.to(dtype), sizes, query_pos)
    queries, (*masks, last) = found
    for name, got in (
        ('inter_query', torch.stack(queries)),
        ('inter_masks', torch.stack(masks).flatten(-2)),
        ('mask', last.flatten(-2)),
    ):
        expected = torch.from_numpy(reference[f'{kind}.{name}']).to(dtype)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize('kind', DECODERS)
def test_the_last_masks_do_not_depend_on_the_others(kind):
    """Prediction needs them alone, and takes fused attention."""
    decoder = released(kind).double()
    arguments = [x.double() if isinstance(x, torch.Tensor) else x for x in inputs(kind)]
    with torch.no_grad():
        queries, masks = decoder(*arguments)
        fast_queries, fast_masks = decoder(*arguments, all_masks=False)
    assert len(fast_masks) == 1
    torch.testing.assert_close(fast_queries, queries, rtol=0, atol=1e-10)
    torch.testing.assert_close(fast_masks[0], masks[-1], rtol=0, atol=1e-10)


def test_heads_have_to_divide_the_width():
    with pytest.raises(ValueError, match='got 30 and 8'):
        MaskDecoder(1, embed_dims=30)
