"""The mask head: both decoders, queries, predictions and losses, for every segmentation task."""

from collections.abc import Sequence

import torch
from mmcv.cnn import Conv2d
from mmengine.config import ConfigDict
from mmengine.model import ModuleList, caffe2_xavier_init, initialize
from torch import Tensor, nn

from ..registry import MODELS
from .decoders.layer_view import FeatureLevel
from .decoders.mask_predictor import MaskPredictor
from .decoders.pixel_decoder import FASegPixelDecoder
from .decoders.positional_query import PositionalQuery
from .decoders.transformer_decoder import FASegTransformerDecoder
from .losses import MaskLosses, MaskProduct, Targets
from .mask_pilot import MaskPilot
from .ops.tracing import refuse_other_sizes


class MaskHead(MaskLosses):
    """Masks and their classes from a backbone's maps, as Mask2Former and FASeg predict them.

    `Dynamic Focus-aware Positional Queries for Semantic Segmentation
    <https://arxiv.org/abs/2204.01244>`_ (CVPR 2023). With ``LearnedPositionalQuery``, three levels,
    no ``high_res_attn``, the sinusoid and a threshold of 0.5 it computes what OpenMMLab's
    ``Mask2FormerHead`` computes, under the same parameter names.

    It knows no framework's contract: a head for MMSegmentation or MMDetection adds ``loss`` and
    ``predict`` in their form, from ``predict_all``, ``train_losses`` and ``predict_last``.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's maps, finest first.
        num_classes (int): Number of classes K; the one place where it is set.
        feat_channels (int): Width C.
        out_channels (int): Width of the mask embeddings.
        num_queries (int): Number of queries Q.
        num_transformer_feat_level (int): Number of levels that the decoder visits.
        pixel_decoder (dict): Config of the pixel decoder; gets its channels, number of levels and
            positional encoding from here.
        transformer_decoder (dict): ``num_layers`` and ``layer_cfg``, as OpenMMLab's heads.
        positional_encoding (dict): Image-side encoding K_p, shared by both decoders:
            ``ConditionalPositionalEncoding`` or ``mmdet.SinePositionalEncoding``.
        positional_query (dict): Query-side encoding: ``DynamicFocusPositionalQuery``,
            ``AnchorPositionalQuery`` or ``LearnedPositionalQuery``, or one of your own.
        high_res_attn (dict, optional): Cross-attention of the finest level,
            ``HighResolutionCrossAttention``; masked like any other when None.
        mask_threshold (float): A layer attends where the sigmoid of the last mask is at least
            this: 0.15 in FASeg, 0.5 in Mask2Former.
        mask_pilot (dict, optional): Mask-piloted training, which changes no prediction: arguments
            of :class:`~mmseg_faseg.models.mask_pilot.MaskPilot`, ``dict()`` for the paper's; off
            when None.
        loss_cls (dict): Classification loss. Without a ``class_weight`` every class weighs 1 and
            'no object' 0.1.
        loss_mask (dict): Mask loss on points.
        loss_dice (dict): Dice loss on points.
        strides (Sequence[int]): Strides of the backbone's maps.
        enforce_decoder_input_project (bool): Whether to project the levels' features once more
            before the decoder attends to them.
        train_cfg (dict, optional): Matching and point sampling, as MMDetection's head.
        init_cfg (dict, optional): MMEngine's initialisation to apply after the head's own.

    Raises:
        ValueError: An argument is out of range, or two do not go together.
        TypeError: The pixel decoder makes no positional encodings, or the positional query is none.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        pixel_decoder: dict,
        transformer_decoder: dict,
        loss_cls: dict,
        loss_mask: dict,
        loss_dice: dict,
        feat_channels: int = 256,
        out_channels: int = 256,
        num_queries: int = 100,
        num_transformer_feat_level: int = 4,
        positional_encoding: dict | None = None,
        positional_query: dict | None = None,
        high_res_attn: dict | None = None,
        mask_threshold: float = 0.15,
        mask_pilot: dict | None = None,
        strides: Sequence[int] = (4, 8, 16, 32),
        enforce_decoder_input_project: bool = False,
        train_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        for name, value in dict(num_classes=num_classes, num_queries=num_queries).items():
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        super().__init__(
            num_classes, num_queries, loss_cls, loss_mask, loss_dice, train_cfg, init_cfg
        )
        self.in_channels = list(in_channels)
        self.num_transformer_feat_level = num_transformer_feat_level
        self.pixel_decoder = _build_pixel_decoder(
            ConfigDict(
                pixel_decoder,
                in_channels=self.in_channels,
                strides=list(strides),
                feat_channels=feat_channels,
                out_channels=out_channels,
                num_outs=num_transformer_feat_level,
                positional_encoding=positional_encoding,
            )
        )
        self.positional_query = _build_positional_query(positional_query, feat_channels)
        self.transformer_decoder = FASegTransformerDecoder(
            num_levels=num_transformer_feat_level,
            mask_threshold=mask_threshold,
            high_res_attn=high_res_attn,
            **transformer_decoder,
        )
        self.num_transformer_decoder_layers = self.transformer_decoder.num_layers
        self.decoder_embed_dims = width = self.transformer_decoder.embed_dims
        self.num_heads = self.transformer_decoder.layers[0].cross_attn.num_heads
        if width != feat_channels:
            raise ValueError(
                f'feat_channels is {feat_channels}, but the embed_dims of transformer_decoder are '
                f'{width}: they must be the same'
            )
        self.decoder_input_projs = ModuleList(
            Conv2d(feat_channels, width, 1) if enforce_decoder_input_project else nn.Identity()
            for _ in range(num_transformer_feat_level)
        )
        self._init_embeddings(num_queries, feat_channels, out_channels)
        self.mask_pilot = None
        if mask_pilot is not None:
            with torch.random.fork_rng(devices=[]):  # the other weights are as without it
                self.mask_pilot = MaskPilot(num_classes, feat_channels, **mask_pilot)
            self.mask_pilot.query_embed.requires_grad_(self.query_embed.weight.requires_grad)

    def _init_embeddings(self, num_queries: int, feat_channels: int, out_channels: int) -> None:
        """The queries, and the networks that predict from them."""
        self.query_embed = nn.Embedding(num_queries, feat_channels)
        # DistributedDataParallel waits for the gradient of every parameter that may have one.
        self.query_embed.requires_grad_(
            self.positional_query.reads_embed or self.transformer_decoder.reads_embed
        )
        self.query_feat = nn.Embedding(num_queries, feat_channels)
        self.level_embed = nn.Embedding(self.num_transformer_feat_level, feat_channels)
        self.cls_embed = nn.Linear(feat_channels, self.num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(inplace=True),
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(inplace=True),
            nn.Linear(feat_channels, out_channels),
        )

    def init_weights(self) -> None:
        """Initialises as the authors do: Xavier uniform in both decoders."""
        for conv in self.decoder_input_projs:
            if isinstance(conv, Conv2d):
                caffe2_xavier_init(conv, bias=0)
        self.pixel_decoder.init_weights()
        for param in self.transformer_decoder.parameters():
            if param.dim() > 1:
                nn.init.xavier_uniform_(param)
        if self.init_cfg:
            initialize(self, self.init_cfg)

    def train_losses(self, x: Sequence[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Computes the losses of every prediction, and of the mask pilot if there is one.

        Args:
            x: The backbone's maps, finest first.
            targets: Targets of the B images.

        Returns:
            As ``losses_of``; those of the mask pilot's L predictions, after each layer, have
            ``pilot.`` before the name.
        """
        finest, levels = self._maps(x)
        outputs = self._decode(finest, levels)
        losses = self.losses_of(*self._predictions(outputs, finest), targets)
        if self.mask_pilot is not None:
            size = tuple(finest.shape[-2:])
            pilot = self.mask_pilot(targets, size, self.num_transformer_decoder_layers)
            outputs = self.transformer_decoder(
                pilot.query,
                pilot.query_embed,
                levels,
                self.positional_query,
                pilot.guide,
                pilot.present,
            )
            # Before the first layer such a query knows nothing of the image.
            predictions = self._predictions(outputs[1:], finest)
            of_pilot = self.losses_of_matched(*predictions, targets, pilot.matches)
            losses.update({f'pilot.{name}': loss for name, loss in of_pilot.items()})
        return losses

    def predict_all(self, x: Sequence[Tensor]) -> tuple[Tensor, MaskProduct]:
        """Makes all L predictions, before the first and after each layer.

        Args:
            x: The backbone's maps, finest first.

        Returns:
            Class logits (L, B, Q, K + 1), the last class 'no object', and the masks, which are
            multiplied only where they are asked for; both at least in float32.
        """
        finest, levels = self._maps(x)
        outputs = self._decode(finest, levels)
        del levels  # tokens and keys are not needed any more
        return self._predictions(outputs, finest)

    def predict_last(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Makes the last prediction only.

        Args:
            x: The backbone's maps, finest first.

        Returns:
            Class logits (B, Q, K + 1), the last class 'no object', and mask logits
            (B, Q, H / 4, W / 4), both at least in float32.
        """
        finest, levels = self._maps(x)
        last = self._decode(finest, levels)[-1]
        del levels
        predictor = self._predictor(_precise(finest))
        class_logits = self.cls_embed(last).to(predictor.features.dtype)
        return class_logits, predictor.masks(last)

    def _maps(self, x: Sequence[Tensor]) -> tuple[Tensor, list[FeatureLevel]]:
        """The pixel decoder's finest features (B, C, H, W), and the levels to attend to."""
        if len(x) != len(self.in_channels):
            raise ValueError(
                f'in_channels names {len(self.in_channels)} feature levels, got {len(x)} maps'
            )
        x = refuse_other_sizes(x)
        finest, features, key_pos = self.pixel_decoder(x)
        levels = [
            FeatureLevel(_tokens(proj(f)), _tokens(pos), embed, tuple(f.shape[-2:]))
            for f, pos, proj, embed in zip(
                features, key_pos, self.decoder_input_projs, self.level_embed.weight, strict=True
            )
        ]
        return finest, levels

    def _decode(self, finest: Tensor, levels: list[FeatureLevel]) -> list[Tensor]:
        """Normalised queries of all predictions."""
        batch = len(finest)
        return self.transformer_decoder(
            self.query_feat.weight.expand(batch, -1, -1),
            self.query_embed.weight.expand(batch, -1, -1),
            levels,
            self.positional_query,
            self._predictor(finest),
        )

    def _predictions(self, outputs: list[Tensor], finest: Tensor) -> tuple[Tensor, MaskProduct]:
        """Class logits and masks of queries, as of ``predict_all``."""
        predictor = self._predictor(_precise(finest))
        queries = torch.stack(outputs)
        # In half precision MMDetection's loss overflows: it counts points in the logits' type.
        class_logits = self.cls_embed(queries).to(predictor.features.dtype)
        embedding, bias = predictor.embed(queries)
        return class_logits, MaskProduct(embedding, predictor.features, bias)

    def _predictor(self, features: Tensor) -> MaskPredictor:
        return MaskPredictor(self.mask_embed, self.pixel_decoder.mask_feature, features)


def _build_pixel_decoder(config: ConfigDict) -> FASegPixelDecoder:
    kind = config.type if isinstance(config.type, type) else MODELS.get(config.type)
    if kind is not None and not issubclass(kind, FASegPixelDecoder):
        raise TypeError(
            f'pixel_decoder.type must be FASegPixelDecoder, got {config.type!r}, which makes no '
            'positional encodings; FASegPixelDecoder takes the same settings and weights'
        )
    return MODELS.build(config)


def _build_positional_query(config: dict | None, width: int) -> PositionalQuery:
    default = dict(type='DynamicFocusPositionalQuery', embed_dims=width)
    positional_query = MODELS.build(default | (config or {}))
    if not isinstance(positional_query, PositionalQuery):
        raise TypeError(
            'positional_query must be a PositionalQuery, with first() and next(), got '
            f'{type(positional_query).__name__}'
        )
    return positional_query


def _tokens(features: Tensor) -> Tensor:
    """(B, C, H, W) to (B, HW, C)."""
    return features.flatten(2).transpose(1, 2)


def _precise(features: Tensor) -> Tensor:
    """At least in float32."""
    return features.to(torch.promote_types(features.dtype, torch.float32))
