"""Checkpoints as the authors release them, with made-up weights: see data/parity/README.md."""

import re
import zlib
from ast import literal_eval
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmseg_faseg.apis import load_config

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


def segformer(backbone: Shapes, widths: tuple[int, ...]) -> Shapes:
    """The keys of Panoptic SegFormer for COCO, as MMDetection 2.12 named its parts.

    Args:
        backbone: Keys of the backbone.
        widths: Channels of its last three stages.
    """
    shapes, c = dict(backbone), 256
    for i, width in enumerate(widths):
        shapes[f'neck.convs.{i}.conv.weight'] = (c, width, 1, 1)
    shapes['neck.extra_convs.0.conv.weight'] = (c, widths[-1], 3, 3)
    for conv in ('convs.0', 'convs.1', 'convs.2', 'extra_convs.0'):
        shapes |= _affine(f'neck.{conv}.gn', c)
    transformer = 'bbox_head.transformer.'
    shapes[transformer + 'level_embeds'] = (4, c)
    shapes |= _linear(transformer + 'reference_points', c, 2)
    for n in range(6):
        for layer, norms in ((f'encoder.layers.{n}.', 2), (f'decoder.layers.{n}.', 3)):
            deformable = transformer + layer + f'attentions.{norms - 2}.'
            for part, width in (
                ('sampling_offsets', 256),
                ('attention_weights', 128),
                ('value_proj', c),
                ('output_proj', c),
            ):
                shapes |= _linear(deformable + part, c, width)
            shapes |= _linear(transformer + layer + 'ffns.0.layers.0.0', c, 4 * c)
            shapes |= _linear(transformer + layer + 'ffns.0.layers.1', 4 * c, c)
            for i in range(norms):
                shapes |= _affine(f'{transformer}{layer}norms.{i}', c)
        attention = f'{transformer}decoder.layers.{n}.attentions.0.attn.'
        shapes |= {attention + 'in_proj_weight': (3 * c, c), attention + 'in_proj_bias': (3 * c,)}
        shapes |= _linear(attention + 'out_proj', c, c)
    branches = [
        ('cls_branches', 6, 80),
        ('cls_thing_branches', 4, 80),
        ('cls_stuff_branches', 6, 1),
    ]
    for name, count, width in branches:
        for i in range(count):
            shapes |= _linear(f'bbox_head.{name}.{i}', c, width)
    for name, count in (('reg_branches', 6), ('reg_branches2', 4)):
        for i in range(count):
            for part, width in ((0, c), (2, c), (4, 4)):
                shapes |= _linear(f'bbox_head.{name}.{i}.{part}', c, width)
    shapes['bbox_head.query_embedding.weight'] = (300, 2 * c)
    shapes['bbox_head.stuff_query.weight'] = (53, 2 * c)
    for kind in ('things', 'stuff'):
        lines = (PARITY / 'panoptic_segformer' / f'{kind}_keys.txt').read_text().splitlines()
        found = (line.split('\t') for line in lines)
        shapes |= {f'bbox_head.{key}': literal_eval(shape) for key, shape in found}
    return shapes


def resnet_backbone(depth: str) -> Shapes:
    """The keys of a ResNet as torchvision and OpenMMLab name them."""
    blocks = {'50': (3, 4, 6, 3), '101': (3, 4, 23, 3)}[depth]
    shapes = {'backbone.conv1.weight': (64, 3, 7, 7)} | _batch_norm('backbone.bn1', 64)
    before = 64
    for stage, count in enumerate(blocks, 1):
        width = 32 * 2**stage
        for block in range(count):
            name = f'backbone.layer{stage}.{block}.'
            sizes = ((1, width, before, 1), (2, width, width, 3), (3, 4 * width, width, 1))
            for i, out, inside, kernel in sizes:
                shapes[f'{name}conv{i}.weight'] = (out, inside, kernel, kernel)
                shapes |= _batch_norm(f'{name}bn{i}', out)
            if block == 0:
                shapes[name + 'downsample.0.weight'] = (4 * width, before, 1, 1)
                shapes |= _batch_norm(name + 'downsample.1', 4 * width)
            before = 4 * width
    return shapes


def pvt_backbone() -> Shapes:
    """The keys of PVTv2-B5 as its repository names them."""
    shapes: Shapes = {}
    before, depths, reductions = 3, (3, 6, 40, 3), (8, 4, 2, 1)
    for stage, width in enumerate((64, 128, 320, 512), 1):
        kernel = 7 if stage == 1 else 3
        patch = f'backbone.patch_embed{stage}.'
        shapes |= {patch + 'proj.weight': (width, before, kernel, kernel)}
        shapes |= {patch + 'proj.bias': (width,)} | _affine(patch + 'norm', width)
        before, reduction = width, reductions[stage - 1]
        for block in range(depths[stage - 1]):
            name = f'backbone.block{stage}.{block}.'
            shapes |= _affine(name + 'norm1', width) | _affine(name + 'norm2', width)
            for part, out in (('q', width), ('kv', 2 * width), ('proj', width)):
                shapes |= _linear(f'{name}attn.{part}', width, out)
            if reduction > 1:
                shapes[name + 'attn.sr.weight'] = (width, width, reduction, reduction)
                shapes |= {name + 'attn.sr.bias': (width,)} | _affine(name + 'attn.norm', width)
            shapes |= _linear(name + 'mlp.fc1', width, 4 * width)
            shapes |= _linear(name + 'mlp.fc2', 4 * width, width)
            shapes[name + 'mlp.dwconv.dwconv.weight'] = (4 * width, 1, 3, 3)
            shapes[name + 'mlp.dwconv.dwconv.bias'] = (4 * width,)
        shapes |= _affine(f'backbone.norm{stage}', width)
    return shapes


def _linear(name: str, width: int, out: int) -> Shapes:
    return {f'{name}.weight': (out, width), f'{name}.bias': (out,)}


def _affine(name: str, width: int) -> Shapes:
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def _batch_norm(name: str, width: int) -> Shapes:
    counts = {f'{name}.running_{what}': (width,) for what in ('mean', 'var')}
    return _affine(name, width) | counts | {f'{name}.num_batches_tracked': ()}


def with_classes(shapes: Shapes, num_classes: int) -> Shapes:
    """The same keys for another number of classes."""
    layer = 'sem_seg_head.predictor.class_embed.'
    return shapes | {
        key: (num_classes + 1, *shape[1:]) for key, shape in shapes.items() if layer in key
    }


def with_queries(shapes: Shapes, num_queries: int) -> Shapes:
    """The same keys for another number of queries."""
    return {
        key: (num_queries, *shape[1:]) if '.query_' in key else shape
        for key, shape in shapes.items()
    }


def without_faseg(shapes: Shapes) -> Shapes:
    """The keys of Mask2Former: nine layers, three levels, no K_p, no DFPQ."""
    only_faseg = re.compile(
        r'adapt_pos2d|pos_linear|input_proj\.3|transformer_\w+_layers\.(9|1\d)\.'
    )
    shapes = {key: shape for key, shape in shapes.items() if not only_faseg.search(key)}
    return shapes | {'sem_seg_head.predictor.level_embed.weight': (3, 256)}


def write_tiny(path: Path) -> Shapes:
    """Writes a config of a FASeg with a small ResNet-50; its shapes under the released names."""
    options = {'model.decode_head.num_queries': 3}
    options['model.backbone.base_channels'] = options['model.backbone.stem_channels'] = 4
    options['model.decode_head.in_channels'] = [16, 32, 64, 128]
    load_config('mmseg_faseg::faseg_r50_ade20k.py', options).dump(path)
    shapes = {}
    for key, shape in shapes_of('r50_ade20k').items():
        if key.startswith('backbone.'):
            shape = tuple(n if n in (1, 3, 7) else n // 16 for n in shape)
        elif 'input_proj' in key or 'adapter_1.weight' in key:
            shape = tuple(n if i != 1 else n // 16 for i, n in enumerate(shape))
        elif 'query_' in key:
            shape = (3, 256)
        shapes[key] = shape
    return shapes


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
