"""The pixel decoder: features of four levels, and the positional encoding K_p of each."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.transformer import MultiScaleDeformableAttention
from mmdet.models.layers import MSDeformAttnPixelDecoder, SinePositionalEncoding
from mmengine.model import ModuleList, xavier_init
from torch import Tensor, nn

from ...registry import MODELS, register
from ..ops.deformable_attention import check_backend
from .deformable_encoder import take_over_encoder
from .positional_encoding import ConditionalPositionalEncoding


@register
class FASegPixelDecoder(MSDeformAttnPixelDecoder):
    """MMDetection's ``MSDeformAttnPixelDecoder`` with a K_p that the transformer decoder shares.

    Parameters have MMDetection's names; the conditional encoding adds ``positional_encoding`` and
    the projection of the finest level, ``position_convs``, which serves nothing else. Runs in the
    precision of its parameters, also under autocast.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's maps, finest first.
        num_outs (int): Number of levels to return, coarsest first.
        positional_encoding (dict): K_p: ``ConditionalPositionalEncoding`` or
            ``mmdet.SinePositionalEncoding`` (the type when none is named). The conditional one
            gets its width and number of levels from here.
        deformable_backend (str): How the deformable attention samples: 'auto', the fastest that
            needs no compilation, 'mmcv', 'embedding_bag', 'grid_sample' or 'compiled'; see
            ``deformable_attention/backends.py``.
        **kwargs: As in :class:`mmdet.models.layers.MSDeformAttnPixelDecoder`.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        num_outs: int = 4,
        norm_cfg: dict | None = dict(type='GN', num_groups=32),  # noqa: B006  MMDetection's own
        positional_encoding: dict | None = None,
        deformable_backend: str = 'auto',
        **kwargs: Any,
    ) -> None:
        check_backend(deformable_backend)
        super().__init__(
            in_channels=in_channels,
            feat_channels=feat_channels,
            num_outs=num_outs,
            norm_cfg=norm_cfg,
            **kwargs,
        )
        if not self.num_encoder_levels <= num_outs <= self.num_input_levels:
            raise ValueError(
                f'num_outs must lie between the {self.num_encoder_levels} levels of the encoder '
                f'and the {self.num_input_levels} of in_channels, got {num_outs}'
            )
        if self.encoder.num_cp > 0:
            raise ValueError(f'encoder.num_cp is not supported, got {self.encoder.num_cp}')
        self.deformable_backend = deformable_backend
        take_over_encoder(self.encoder)
        del self.postional_encoding  # MMDetection's sinusoid, misspelt there
        self.positional_encoding = _build_encoding(positional_encoding, feat_channels, num_outs)
        self.position_convs = ModuleList()
        if isinstance(self.positional_encoding, ConditionalPositionalEncoding):
            for level in range(self.num_encoder_levels, num_outs):
                channels = in_channels[self.num_input_levels - 1 - level]
                self.position_convs.append(
                    ConvModule(
                        channels, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None, bias=True
                    )
                )

    def init_weights(self) -> None:
        """MMDetection's initialisation, with Xavier uniform in the encoder as the authors have."""
        super().init_weights()
        for conv in self.position_convs:
            xavier_init(conv.conv, distribution='uniform')
        for param in self.encoder.parameters():
            if param.dim() > 1:
                nn.init.xavier_uniform_(param)
        for module in self.encoder.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.init_weights()

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Decodes the backbone's maps.

        Args:
            feats: The backbone's maps, finest first.

        Returns:
            The finest features (B, C, H_3, W_3), and for each level, coarsest first, its features
            (B, C, H_l, W_l) and its positional encoding (B or 1, C, H_l, W_l). ``mask_feature``,
            which MMDetection applies to the finest features here, is left to who needs it.
        """
        # GroupNorm statistics and sampling locations do not survive half precision.
        with torch.autocast(feats[0].device.type, enabled=False):
            dtype = self.mask_feature.weight.dtype
            # Channels last: as tokens lie, and what resizing and convolutions on a CPU like best.
            feats = [x.to(dtype).contiguous(memory_format=torch.channels_last) for x in feats]
            feats.reverse()
            projected = [conv(x) for conv, x in zip(self.input_convs, feats, strict=False)]
            key_pos = self._encode_positions(feats, projected)
            outs = self._encode(projected, key_pos)
            finer = feats[self.num_encoder_levels :]
            for x, lateral, conv in zip(finer, self.lateral_convs, self.output_convs, strict=True):
                top_down = F.interpolate(
                    outs[-1], x.shape[-2:], mode='bilinear', align_corners=False
                )
                outs.append(conv(top_down.add_(lateral(x))))
            return outs[-1], outs[: self.num_outs], key_pos

    def _encode_positions(self, feats: list[Tensor], projected: list[Tensor]) -> list[Tensor]:
        """K_p of the returned levels, from maps that are ordered coarsest first."""
        if isinstance(self.positional_encoding, SinePositionalEncoding):
            return [self.positional_encoding(None, x[:1]) for x in feats[: self.num_outs]]
        finer = feats[self.num_encoder_levels : self.num_outs]
        maps = [conv(x) for conv, x in zip(self.position_convs, finer, strict=True)]
        return self.positional_encoding([*projected, *maps])

    def _encode(self, projected: list[Tensor], key_pos: list[Tensor]) -> list[Tensor]:
        """Runs the deformable encoder over all its levels at once."""
        sizes = tuple(tuple(x.shape[-2:]) for x in projected)
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in projected], 1)
        pos = torch.cat(
            [
                x.flatten(2).transpose(1, 2) + embed
                for x, embed in zip(key_pos, self.level_encoding.weight, strict=False)
            ],
            1,
        )
        tokens = self.encoder(tokens, pos, sizes, self.deformable_backend)
        levels = tokens.split([h * w for h, w in sizes], 1)
        return [
            x.unflatten(1, size).permute(0, 3, 1, 2) for x, size in zip(levels, sizes, strict=True)
        ]


def _build_encoding(config: dict | None, width: int, num_levels: int) -> nn.Module:
    config = dict(config or dict(num_feats=width // 2, normalize=True))
    kind = config.setdefault('type', 'mmdet.SinePositionalEncoding')
    kind = getattr(kind, '__name__', kind).split('.')[-1]
    if kind == 'ConditionalPositionalEncoding':
        config = dict(embed_dims=width, num_levels=num_levels) | config
    elif kind != 'SinePositionalEncoding':
        raise ValueError(
            "positional_encoding must be of type 'ConditionalPositionalEncoding' or "
            f"'mmdet.SinePositionalEncoding', got {config['type']!r}"
        )
    elif isinstance(config['type'], str):
        config['type'] = 'mmdet.SinePositionalEncoding'  # found whatever the default scope
    return MODELS.build(config)
