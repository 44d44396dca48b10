"""The decode head of FASeg."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import Conv2d
from mmengine.config import ConfigDict
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init, initialize
from mmseg.utils import SampleList
from torch import Tensor, nn

from ...registry import MODELS, register
from ..decoders.transformer_decoder import FASegTransformerDecoder, FeatureLevel, PredictMasks
from ..losses import MaskLossHead, MaskProduct
from ..merging.rows import class_scores


@register
class FASegHead(MaskLossHead):
    """Mask2Former's head with dynamic positional queries and high-resolution cross-attention.

    `Dynamic Focus-aware Positional Queries for Semantic Segmentation
    <https://arxiv.org/abs/2204.01244>`_ (CVPR 2023). Keeps the contract of MMSegmentation's
    ``Mask2FormerHead``: methods, config keys, attribute and parameter names, losses. With
    ``LearnedPositionalQuery``, three levels, no ``high_res_attn``, the sinusoid and a threshold of
    0.5 it computes what that head computes.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's maps, finest first.
        num_classes (int): Number of classes K; the one place where it is set.
        feat_channels (int): Width C.
        out_channels (int): Width of the mask embeddings.
        num_queries (int): Number of queries Q.
        num_transformer_feat_level (int): Number of levels that the decoder visits.
        pixel_decoder (dict): Config of the pixel decoder; gets its channels, number of levels and
            positional encoding from here.
        transformer_decoder (dict): ``num_layers`` and ``layer_cfg``, as MMSegmentation's head.
        positional_encoding (dict): Image-side encoding K_p, shared by both decoders:
            ``ConditionalPositionalEncoding`` or ``mmdet.SinePositionalEncoding``.
        positional_query (dict): Query-side encoding: ``DynamicFocusPositionalQuery``,
            ``AnchorPositionalQuery`` or ``LearnedPositionalQuery``.
        high_res_attn (dict, optional): Cross-attention of the finest level,
            ``HighResolutionCrossAttention``; masked like any other when None.
        mask_threshold (float): A layer attends where the sigmoid of the last mask is at least
            this: 0.15 in FASeg, 0.5 in Mask2Former.
        loss_cls (dict): Classification loss. Without a ``class_weight`` every class weighs 1 and
            'no object' 0.1.
        loss_mask (dict): Mask loss on points.
        loss_dice (dict): Dice loss on points.
        strides (Sequence[int]): Strides of the backbone's maps.
        enforce_decoder_input_project (bool): Whether to project the levels' features once more
            before the decoder attends to them.
        align_corners (bool): For MMSegmentation's ``EncoderDecoder``, when it resizes scores.
        ignore_index (int): Label id without a class.
        train_cfg (dict, optional): Matching and point sampling, as MMDetection's head.
        test_cfg (dict, optional): Not used by the head itself.
        init_cfg (dict, optional): MMEngine's initialisation to apply after the head's own.
    """

    # With one class EncoderDecoder predicts it where sigmoid(score) exceeds this: a score of 0.5.
    threshold = torch.tensor(0.5).sigmoid().item()

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
        strides: Sequence[int] = (4, 8, 16, 32),
        enforce_decoder_input_project: bool = False,
        align_corners: bool = False,
        ignore_index: int = 255,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        BaseModule.__init__(self, init_cfg)  # the stock constructor builds parts replaced here
        for name, value in dict(num_classes=num_classes, num_queries=num_queries).items():
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        self.in_channels = list(in_channels)
        self.num_classes = num_classes
        self.out_channels = num_classes  # what EncoderDecoder means by it
        self.num_queries = num_queries
        self.num_transformer_feat_level = num_transformer_feat_level
        self.align_corners = align_corners
        self.ignore_index = ignore_index
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg

        self.pixel_decoder = MODELS.build(
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
        self.positional_query = MODELS.build(
            dict(type='DynamicFocusPositionalQuery', embed_dims=feat_channels)
            | (positional_query or {})
        )
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
        self.query_embed = nn.Embedding(num_queries, feat_channels)
        embed_is_used = self.positional_query.needs != 'masks' or (
            high_res_attn is not None and high_res_attn.get('query_pos') != 'dynamic'
        )
        # DistributedDataParallel waits for the gradient of every parameter that may have one.
        self.query_embed.requires_grad_(embed_is_used)
        self.query_feat = nn.Embedding(num_queries, feat_channels)
        self.level_embed = nn.Embedding(num_transformer_feat_level, feat_channels)
        self.cls_embed = nn.Linear(feat_channels, num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(inplace=True),
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(inplace=True),
            nn.Linear(feat_channels, out_channels),
        )
        self._init_losses(loss_cls, loss_mask, loss_dice)

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

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: SampleList | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Makes every prediction, before the first and after each layer.

        Args:
            x: The backbone's maps, finest first.
            batch_data_samples: Not used; part of MMSegmentation's contract.

        Returns:
            Class logits (B, Q, K + 1) and mask logits (B, Q, H / 4, W / 4) of each prediction, at
            least in float32.
        """
        class_logits, masks = self._predictions(x)
        return list(class_logits), list(masks.tensors())

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict | None
    ) -> dict[str, Tensor]:
        """Computes the losses of every prediction.

        The same as ``loss_by_feat`` of what ``forward`` returns, but no mask is made with a
        gradient that no target was matched to.

        Args:
            x: The backbone's maps, finest first.
            batch_data_samples: Samples with ``gt_sem_seg``.
            train_cfg: Not used; part of MMSegmentation's contract.

        Returns:
            Losses by name, as MMDetection's head names them.
        """
        instances, img_metas = self._seg_data_to_instance_data(batch_data_samples)
        return self.losses_of(*self._predictions(x), instances, img_metas)

    def predict_masks(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Makes the last prediction only.

        Args:
            x: The backbone's maps, finest first.

        Returns:
            Class probabilities without 'no object', (B, Q, K), and mask logits
            (B, Q, H / 4, W / 4), both at least in float32.
        """
        outputs, features = self._decode(x)
        class_logits = self.cls_embed(outputs[-1]).to(features.dtype)
        mask_logits = self._mask_logits(outputs[-1], features)
        return class_logits.softmax(-1)[..., :-1], mask_logits

    def predict(
        self, x: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict | None
    ) -> Tensor:
        """Predicts class scores.

        Args:
            x: The backbone's maps, finest first.
            batch_img_metas: Meta information of the images; gives the size.
            test_cfg: The segmentor's test config.

        Returns:
            Sum over queries of class probability times mask probability, (B, K, H, W), at the
            size of the network's input.
        """
        class_probs, mask_logits = self.predict_masks(x)
        size = input_size(batch_img_metas[0], test_cfg)
        with torch.autocast(mask_logits.device.type, enabled=False):
            return class_scores(class_probs, mask_logits, size)

    def _predictions(self, x: Sequence[Tensor]) -> tuple[Tensor, MaskProduct]:
        """Class logits (L, B, Q, K + 1) and masks of all L predictions."""
        outputs, features = self._decode(x)
        queries = torch.stack(outputs)
        # In half precision MMDetection's loss overflows: it counts points in the logits' type.
        class_logits = self.cls_embed(queries).to(features.dtype)
        embedding, bias = self._mask_embedding(queries, features.dtype)
        return class_logits, MaskProduct(embedding, features, bias)

    def _decode(self, x: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Runs both decoders: normalised queries of all predictions, and the finest features."""
        if len(x) != len(self.in_channels):
            raise ValueError(
                f'in_channels names {len(self.in_channels)} feature levels, got {len(x)} maps'
            )
        finest, features, key_pos = self.pixel_decoder(x)
        levels = [
            FeatureLevel(_tokens(proj(f)), _tokens(pos), embed, tuple(f.shape[-2:]))
            for f, pos, proj, embed in zip(
                features, key_pos, self.decoder_input_projs, self.level_embed.weight, strict=True
            )
        ]
        batch = len(finest)
        outputs = self.transformer_decoder(
            self.query_feat.weight.expand(batch, -1, -1),
            self.query_embed.weight.expand(batch, -1, -1),
            levels,
            self.positional_query,
            self._mask_predictor(finest.detach(), [level.size for level in levels]),
        )
        return outputs, finest.to(torch.promote_types(finest.dtype, torch.float32))

    def _mask_embedding(self, queries: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What the finest features are multiplied with, (..., C), and what is added, (...).

        Mask2Former applies a 1x1 convolution, ``mask_feature``, to the features first; applied to
        the embeddings instead it gives the same masks without a second map of that size. Outside
        autocast: logits can be large.
        """
        embedding = self.mask_embed(queries).to(dtype)
        conv = self.pixel_decoder.mask_feature
        with torch.autocast(queries.device.type, enabled=False):
            weight, bias = conv.weight.flatten(1).to(dtype), conv.bias.to(dtype)
            return embedding @ weight, embedding @ bias

    def _mask_logits(self, queries: Tensor, features: Tensor) -> Tensor:
        """Mask logits (B, Q, H, W), channels last, of queries (B, Q, C) on features."""
        embedding, bias = self._mask_embedding(queries, features.dtype)
        with torch.autocast(features.device.type, enabled=False):
            logits = torch.baddbmm(
                bias.unsqueeze(1), features.flatten(2).transpose(1, 2), embedding.transpose(1, 2)
            )
        return logits.transpose(1, 2).unflatten(2, features.shape[2:])

    def _mask_predictor(self, features: Tensor, sizes: list[tuple[int, int]]) -> PredictMasks:
        """Predictor of masks at the size of a level, for attention, not for losses.

        Resizing is linear, so the features are resized, once per level, in place of every mask.
        """
        resized = {None: features}

        def predict_masks(queries: Tensor, level: int | None) -> Tensor:
            if level not in resized:
                resized[level] = F.interpolate(
                    features, sizes[level], mode='bilinear', align_corners=False
                )
            # Detached afterwards: under autocast, weights cast without gradient would be cached.
            return self._mask_logits(queries, resized[level]).detach()

        return predict_masks


def input_size(img_meta: dict, test_cfg: dict | None) -> tuple[int, int]:
    """Size (H, W) of what the network was given, to which masks are resized.

    In slide mode ``img_shape`` is that of the window, while ``pad_shape`` is that of the image.
    """
    sliding = (test_cfg or {}).get('mode') == 'slide'
    if 'pad_shape' in img_meta and not sliding:
        return tuple(img_meta['pad_shape'][:2])
    return tuple(img_meta['img_shape'][:2])


def _tokens(features: Tensor) -> Tensor:
    """(B, C, H, W) to (B, HW, C)."""
    return features.flatten(2).transpose(1, 2)
