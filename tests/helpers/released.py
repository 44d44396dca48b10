"""Checkpoints as the authors release them, with made-up weights: see data/parity/README.md."""

import re
import zlib
from ast import literal_eval
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PARITY = Path(__file__).parents[1] / 'data' / 'parity'
Shapes = dict[str, tuple[int, ...]]


def shapes_of(model: str) -> Shapes:
    """Keys and shapes of 'r50_ade20k' or 'swin-t_ade20k', in the authors' naming."""
    lines = (PARITY / f'{model}.keys.tsv').read_text().splitlines()
    return {key: literal_eval(shape) for key, shape, _ in (line.split('\t') for line in lines)}


def with_swin(shapes: Shapes, width: int, depth: int, window: int) -> Shapes:
    """A Swin-T's keys, with another width, third stage and window."""
    result = {}
    for key, shape in shapes.items():
        if key.startswith('backbone.') or '.input_proj.' in key or 'adapter_1.weight' in key:
            # widths are multiples of 96; 256 is the head's
            shape = tuple(n * width // 96 if n % 96 == 0 and n != 256 else n for n in shape)
        if key.endswith('relative_position_bias_table'):
            heads = width * 2 ** int(key.split('.')[2]) // 32
            shape = ((2 * window - 1) ** 2, heads)
        if key.endswith('relative_position_index'):
            shape = (window**2, window**2)
        last = re.fullmatch(r'(backbone\.layers\.2\.blocks\.)5(\..+)', key)
        result[key] = shape
        if last:
            result.update({f'{last[1]}{n}{last[2]}': shape for n in range(6, depth)})
    return result


def with_classes(shapes: Shapes, num_classes: int) -> Shapes:
    """The same keys for another number of classes."""
    layer = 'sem_seg_head.predictor.class_embed.'
    return shapes | {
        key: (num_classes + 1, *shape[1:]) for key, shape in shapes.items() if layer in key
    }


def without_faseg(shapes: Shapes) -> Shapes:
    """The keys of Mask2Former: nine layers, three levels, no K_p, no DFPQ."""
    only_faseg = re.compile(
        r'adapt_pos2d|pos_linear|input_proj\.3|transformer_\w+_layers\.(9|1\d)\.'
    )
    shapes = {key: shape for key, shape in shapes.items() if not only_faseg.search(key)}
    return shapes | {'sem_seg_head.predictor.level_embed.weight': (3, 256)}


def made_up(key: str, shape: tuple[int, ...]) -> Tensor:
    """The weight that the rule of data/parity/README.md gives."""
    if key.endswith('relative_position_index'):
        return position_index(round(shape[0] ** 0.5))
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    n = generator.standard_normal(shape, dtype=np.float32)
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'running_var':
        n = 1 + 0.1 * abs(n)
    elif leaf == 'running_mean':
        n = 0.05 * n
    elif 'sampling_offsets.bias' in key:
        n = 2 * n
    elif leaf == 'relative_position_bias_table':
        n = 0.1 * n
    elif len(shape) == 1:
        n = 1 + 0.1 * n if leaf == 'weight' else 0.05 * n
    elif not any(name in key for name in ('query_feat', 'query_embed', 'level_embed')):
        n = n / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(n, dtype=np.float32))


def blank(key: str, shape: tuple[int, ...]) -> Tensor:
    """A weight of that shape that costs nothing to make."""
    if key.endswith('relative_position_index'):
        return position_index(round(shape[0] ** 0.5))
    return torch.zeros(shape, dtype=int if key.endswith('num_batches_tracked') else None)


def position_index(window: int) -> Tensor:
    """Index of each pair of a window's pixels into the table of relative positions."""
    y, x = np.divmod(np.arange(window**2), window)
    row = y[:, None] - y + window - 1
    column = x[:, None] - x + window - 1
    return torch.from_numpy(row * (2 * window - 1) + column)


def image_of(name: str, shape: tuple[int, ...]) -> Tensor:
    """The input that the reference outputs of a file were made from."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f'image:{name}'.encode())))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
