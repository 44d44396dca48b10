"""Parameters and FLOPs of a model, whole and by part."""

import copy
import math
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..errors import UserError
from .config import datasets_of
from .model import build_model

# Submodules by the beginning of their names; the prediction is what none of them claims.
_OF_HEAD = {
    'pixel decoder': ('pixel_decoder',),
    'transformer decoder': (
        'transformer_decoder',
        'decoder_input_projs',
        'decoder_positional_encoding',
        'positional_query',
        'query_feat',
        'query_embed',
        'level_embed',
    ),
}
# The same of a DETR, whose encoder is its pixel decoder.
_OF_DETR = {
    'pixel decoder': ('encoder', 'level_embed', 'positional_encoding'),
    'transformer decoder': ('decoder', 'query_embedding', 'reference_points_fc'),
}
# Runs inside the transformer decoder, with which its FLOPs are counted.
_INSIDE = 'positional_query'


class Part(NamedTuple):
    """Size and cost of a part of a model, as in :class:`Complexity`."""

    params: int
    trainable_params: int
    flops: int


class Complexity(NamedTuple):
    """Size of a model, and what it costs to predict one image.

    Attributes:
        params: Number of parameters.
        trainable_params: Those among them that training changes.
        flops: FLOPs of one image, as :func:`complexity_of` counts them.
        parts: The same of 'backbone', 'pixel decoder', 'transformer decoder' and 'prediction',
            which add up to the whole.
    """

    params: int
    trainable_params: int
    flops: int
    parts: dict[str, Part]

    def table(self, parts: bool = False) -> str:
        """The numbers as a Markdown table, with a row for each part if asked for."""
        lines = ['| | parameters | trainable | FLOPs |', '| --- | --- | --- | --- |']
        for name, row in [*(self.parts.items() if parts else ()), ('whole', self)]:
            millions = f'{row.params / 1e6:.2f} M | {row.trainable_params / 1e6:.2f} M'
            lines.append(f'| {name} | {millions} | {row.flops / 1e9:.2f} G |')
        return '\n'.join(lines)


def complexity_of(cfg_or_model: Config | nn.Module, size: tuple[int, int]) -> Complexity:
    """Counts parameters and FLOPs.

    FLOPs are those of one image, from pixels to class scores at the size of the input, in one pass
    of the network; of a detector, to masks of that size. They are counted as by fvcore and
    MMEngine's ``FlopAnalyzer``: a multiply-add is one, in convolutions, linear layers and matrix
    products (attention and ``einsum`` included) and in weighted sums of table rows; batch norm is 2
    an element, other norms 5, bilinear resizing and sampling 4 an element of the result; anything
    else is nothing. ``docs/flops.md`` sets this beside what the authors report.

    Only shapes are computed, unless the model reads a tensor's values on the way, as MMDetection's
    pixel decoder does: such a model runs, on zeros. No weights are loaded.

    Args:
        cfg_or_model: A config, or a segmentor of MMSegmentation or a detector of MMDetection such
            as ``Mask2Former``, which is left as it is.
        size: (H, W) of the network's input in pixels, padding included.

    Raises:
        UserError: The size is not two positive integers, the config has no model, or the model
            cannot run on such an input.
    """
    if len(size) != 2 or not all(isinstance(length, int) and length > 0 for length in size):
        raise UserError(f'the input size must be two positive integers, H and W, got {size}')
    model = _own_model(cfg_or_model)
    params, trainable = _count_params(model)
    # PyTorch's counter follows tensors that have a gradient backwards, which there is not here.
    flops = _count_flops(model.eval().requires_grad_(False), size)
    parts = {name: Part(params[name], trainable[name], flops[name]) for name in flops}
    return Complexity(params.total(), trainable.total(), sum(flops.values()), parts)


def input_size_of(cfg: Config) -> tuple[int, int]:
    """The input size (H, W) at which a config is measured when none is given.

    The training crop, scaled so that its shorter edge is the one that test images are resized to:
    1024 x 2048 on Cityscapes, from a crop of 512 x 1024 and a shortest edge of 1024.

    Raises:
        UserError: The config names no crop.
    """
    crop = cfg.get('crop_size') or cfg.get('model', {}).get('data_preprocessor', {}).get('size')
    if crop is None:
        raise UserError('the config has no crop_size from which to take the input size')
    for dataset in datasets_of(cfg.get('test_dataloader')):
        for step in dataset.get('pipeline', ()):
            if 'Resize' in str(step['type']) and 'scale' in step:
                scale = step['scale']
                edge = scale if isinstance(scale, int) else min(scale)
                return tuple(length * edge // min(crop) for length in crop)
    return tuple(crop)


def parts_of(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """What the modules of each part of a segmentor or detector begin with."""
    if hasattr(model, 'bbox_head'):
        return {'backbone': ('backbone', 'neck'), **_OF_DETR}
    head = 'panoptic_head' if hasattr(model, 'panoptic_head') else 'decode_head'
    of_head = {part: tuple(f'{head}.{name}' for name in names) for part, names in _OF_HEAD.items()}
    return {'backbone': ('backbone', 'neck'), **of_head}


class _Prediction(nn.Module):
    """What is counted: an image's class scores, or its masks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, image: Tensor) -> Any:
        size = tuple(image.shape[-2:])
        img_meta = dict(img_shape=size, pad_shape=size, ori_shape=size, batch_input_shape=size)
        features = self.model.extract_feat(image)
        if hasattr(self.model, 'bbox_head'):  # Panoptic SegFormer
            inputs = self.model.forward_transformer(features, [DetDataSample(metainfo=img_meta)])
            masks = self.model.bbox_head.predict_segments(**inputs).masks
            return F.interpolate(masks, size, mode='bilinear', align_corners=False)
        if hasattr(self.model, 'panoptic_head'):
            return self.model.panoptic_head.predict(features, [DetDataSample(metainfo=img_meta)])
        return self.model.decode_head.predict(features, [img_meta], None)


def _own_model(cfg_or_model: Config | nn.Module) -> nn.Module:
    """A model to do with as we like, on the CPU: there are no operators of MMCV's in between."""
    if isinstance(cfg_or_model, nn.Module):
        return copy.deepcopy(cfg_or_model).cpu()
    return build_model(cfg_or_model)


def _count_params(model: nn.Module) -> tuple[Counter[str], Counter[str]]:
    """All and trainable parameters by part."""
    params: Counter[str] = Counter()
    trainable: Counter[str] = Counter()
    parts = parts_of(model)
    for name, param in model.named_parameters():
        part = next((p for p, names in parts.items() if name.startswith(names)), 'prediction')
        params[part] += param.numel()
        trainable[part] += param.numel() * param.requires_grad
    return params, trainable


def _count_flops(model: nn.Module, size: tuple[int, int]) -> dict[str, int]:
    """FLOPs by part."""
    try:
        try:
            counts = _run(model, size, FakeTensorMode(allow_non_fake_inputs=True))
        except RuntimeError:  # there are no values to read
            counts = _run(model, size, nullcontext())
    except Exception as error:
        raise UserError(
            f'the model cannot run on an input of {size[0]} x {size[1]}: {error}'
        ) from error
    modules = dict(model.named_modules())
    flops = {
        part: sum(
            _flops_of(modules[name], f'_Prediction.model.{name}', counts)
            for name in names
            if name in modules and not name.endswith(_INSIDE)
        )
        for part, names in parts_of(model).items()
    }
    return {**flops, 'prediction': counts['Global'] - sum(flops.values())}


def _run(model: nn.Module, size: tuple[int, int], tensors: AbstractContextManager) -> Counter[str]:
    """FLOPs while each module ran, by its name, and of all ('Global')."""
    counter = FlopCounterMode(display=False, custom_mapping=_RULES)
    with torch.no_grad(), tensors, counter:
        _Prediction(model)(torch.zeros(1, 3, *size))
    # PyTorch counts a multiply-add as two.
    return Counter(
        {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    )


def _flops_of(module: nn.Module, name: str, counts: Counter[str]) -> int:
    """FLOPs of a module, or of its children where those are called in its place."""
    if name in counts:
        return counts[name]
    return sum(
        _flops_of(child, f'{name}.{child_name}', counts)
        for child_name, child in module.named_children()
    )


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_, **__) -> int:
    return sdpa_flop_count(query, key, value)


def _per_element(cost: int) -> Callable[..., int]:
    return lambda shape, *_, **__: 2 * cost * math.prod(shape)


def _per_element_of_result(cost: int) -> Callable[..., int]:
    return lambda *_, out_shape, **__: 2 * cost * math.prod(out_shape)


def _rows_summed(table: torch.Size, rows: torch.Size, *_, **__) -> int:
    return 2 * math.prod(rows) * table[1]


# What PyTorch's counter leaves out, from the shapes of an operator's arguments and result.
_RULES = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten.native_batch_norm: _per_element(2),
    torch.ops.aten._native_batch_norm_legit_no_training: _per_element(2),
    torch.ops.aten.native_group_norm: _per_element(5),
    torch.ops.aten.native_layer_norm: _per_element(5),
    torch.ops.aten.upsample_bilinear2d: _per_element_of_result(4),
    torch.ops.aten._embedding_bag_forward_only: _rows_summed,
    torch.ops.aten.grid_sampler_2d: _per_element_of_result(4),
}
