from typing import Any

import torch.nn as nn
from mmcv.cnn import is_norm
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from ..errors import UserError

# Learned tables that stand alone as parameters, by the names OpenMMLab's backbones give them.
POSITION_PARAMETERS = {'relative_position_bias_table', 'absolute_pos_embed', 'pos_embed'}
# Embedding modules of the decode head. The pixel decoder's `level_encoding` is not among them.
QUERY_EMBEDDINGS = {'query_feat', 'query_embed', 'level_embed'}
_DEFAULTS = dict(backbone_lr_mult=0.1, layer_decay_rate=1.0)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class FASegOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """The learning-rate and weight-decay rule of Mask2Former and FASeg, for any backbone.

    Parameters of the backbone learn at ``backbone_lr_mult`` times the learning rate. No weight
    decay for the weights and biases of all norm layers, the backbone's included; for
    ``query_feat``, ``query_embed`` and the decoder's ``level_embed``; for relative position
    tables and absolute position embeddings. All else decays, other biases and the pixel
    decoder's ``level_encoding`` included. Frozen parameters are left out.

    With ``layer_decay_rate`` r, a layer of the backbone learns at r times the rate of the next, the
    last one at ``backbone_lr_mult`` times the learning rate. The backbone says what a layer is
    (``param_layers``, as :class:`TimmFeatures` has it): of a plain ViT the embeddings, then each
    block, the final norm with the last.

    MMEngine's default constructor cannot say this in a few keys: a custom key for the backbone
    switches its ``norm_decay_mult`` off. At most four parameter groups come out, or two for each
    layer and two for the rest, so that the optimizer's fused and multi-tensor paths work on long
    lists.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper; its ``optimizer`` needs an
            ``lr``.
        paramwise_cfg (dict, optional): May hold ``backbone_lr_mult`` (float, default 0.1) and
            ``layer_decay_rate`` (float in (0, 1], default 1: no difference between layers).

    Raises:
        ValueError: ``optimizer`` without ``lr``, a ``paramwise_cfg`` with other keys, or a
            ``layer_decay_rate`` out of range or for a backbone whose layers are not known.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        # never empty: with no parameter-wise option the parent would apply no rule at all
        super().__init__(optim_wrapper_cfg, _DEFAULTS | dict(paramwise_cfg or {}))

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        unknown = sorted(self.paramwise_cfg.keys() - _DEFAULTS)
        if unknown:
            raise ValueError(
                f'paramwise_cfg of FASegOptimWrapperConstructor holds {unknown}, but takes only '
                "'backbone_lr_mult' and 'layer_decay_rate'; for rules of your own leave out "
                '`constructor`'
            )
        rate = self.paramwise_cfg['layer_decay_rate']
        if rate is not None and not 0 < rate <= 1:
            raise ValueError(f'paramwise_cfg.layer_decay_rate must be in (0, 1], got {rate}')
        if self.base_lr is None:
            raise ValueError(
                'optim_wrapper.optimizer needs an `lr`: the backbone learns at a multiple of it, '
                f'but got {dict(self.optimizer_cfg)}'
            )

    def add_params(self, params: list[dict], module: nn.Module) -> None:
        """Append the parameter groups of a model to a list.

        Args:
            params (list[dict]): Groups for the optimizer; appended to in place.
            module (nn.Module): The model; its backbone is the child named ``backbone``.
        """
        factors = self._layer_factors(module)
        groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
        seen = set()
        for prefix, owner in module.named_modules():
            in_backbone = prefix.split('.')[0] == 'backbone'
            for name, param in owner.named_parameters(recurse=False):
                if not param.requires_grad or param in seen:
                    continue
                seen.add(param)
                factor = factors.get(f'{prefix}.{name}', 1.0)
                key = in_backbone, factor, _decays(owner, prefix, name)
                groups.setdefault(key, []).append(param)
        params.extend(self._group(*key, params=group) for key, group in groups.items())

    def _group(self, in_backbone: bool, factor: float, decays: bool, params: list) -> dict:
        multiplier = self.paramwise_cfg['backbone_lr_mult'] * factor if in_backbone else 1
        group = dict(params=params, lr=self.base_lr * multiplier)
        # a group that decays takes the optimizer's own weight_decay
        return group if decays else group | dict(weight_decay=0.0)

    def _layer_factors(self, model: nn.Module) -> dict[str, float]:
        """By full name, the fraction of the last layer's rate that a backbone's parameter gets."""
        rate = self.paramwise_cfg['layer_decay_rate']
        if rate in (None, 1):
            return {}
        backbone: Any = getattr(model, 'backbone', None)
        if not hasattr(backbone, 'param_layers'):
            raise UserError(
                f'paramwise_cfg.layer_decay_rate={rate} needs a backbone that counts its layers '
                f'(TimmFeatures does), got {type(backbone).__name__}: leave it out'
            )
        layers = backbone.param_layers()
        last = max(layers.values())
        return {f'backbone.{name}': rate ** (last - layer) for name, layer in layers.items()}


def _decays(owner: nn.Module, prefix: str, name: str) -> bool:
    """Whether parameter ``name`` of the module ``owner`` at ``prefix`` decays."""
    is_query = isinstance(owner, nn.Embedding) and prefix.split('.')[-1] in QUERY_EMBEDDINGS
    return not (is_norm(owner) or is_query or name in POSITION_PARAMETERS)
