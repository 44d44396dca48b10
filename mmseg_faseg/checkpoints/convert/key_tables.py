"""How released checkpoints name their parameters, and how OpenMMLab does.

A row is a source key and our key. ``{i}`` stands for any one part of a name, the same on both
sides; ``{rest*}`` for any number of parts. Tables are joined in ``TABLES``; within a joined table
every key fits exactly one row, or one row of ``DROPPED``.
"""

import functools
import re
from collections.abc import Iterable

# detectron2's ResNet, as OpenMMLab's (which follows torchvision).
RESNET = [
    ('backbone.stem.conv1.weight', 'backbone.conv1.weight'),
    ('backbone.stem.conv1.norm.{p}', 'backbone.bn1.{p}'),
    ('backbone.res2.{b}.conv{i}.weight', 'backbone.layer1.{b}.conv{i}.weight'),
    ('backbone.res2.{b}.conv{i}.norm.{p}', 'backbone.layer1.{b}.bn{i}.{p}'),
    ('backbone.res2.{b}.shortcut.weight', 'backbone.layer1.{b}.downsample.0.weight'),
    ('backbone.res2.{b}.shortcut.norm.{p}', 'backbone.layer1.{b}.downsample.1.{p}'),
    ('backbone.res3.{b}.conv{i}.weight', 'backbone.layer2.{b}.conv{i}.weight'),
    ('backbone.res3.{b}.conv{i}.norm.{p}', 'backbone.layer2.{b}.bn{i}.{p}'),
    ('backbone.res3.{b}.shortcut.weight', 'backbone.layer2.{b}.downsample.0.weight'),
    ('backbone.res3.{b}.shortcut.norm.{p}', 'backbone.layer2.{b}.downsample.1.{p}'),
    ('backbone.res4.{b}.conv{i}.weight', 'backbone.layer3.{b}.conv{i}.weight'),
    ('backbone.res4.{b}.conv{i}.norm.{p}', 'backbone.layer3.{b}.bn{i}.{p}'),
    ('backbone.res4.{b}.shortcut.weight', 'backbone.layer3.{b}.downsample.0.weight'),
    ('backbone.res4.{b}.shortcut.norm.{p}', 'backbone.layer3.{b}.downsample.1.{p}'),
    ('backbone.res5.{b}.conv{i}.weight', 'backbone.layer4.{b}.conv{i}.weight'),
    ('backbone.res5.{b}.conv{i}.norm.{p}', 'backbone.layer4.{b}.bn{i}.{p}'),
    ('backbone.res5.{b}.shortcut.weight', 'backbone.layer4.{b}.downsample.0.weight'),
    ('backbone.res5.{b}.shortcut.norm.{p}', 'backbone.layer4.{b}.downsample.1.{p}'),
]

# The original Swin Transformer; ImageNet files have these names without `backbone.`.
SWIN = [
    ('backbone.patch_embed.proj.{p}', 'backbone.patch_embed.projection.{p}'),
    ('backbone.patch_embed.norm.{p}', 'backbone.patch_embed.norm.{p}'),
    ('backbone.layers.{s}.blocks.{b}.norm{i}.{p}', 'backbone.stages.{s}.blocks.{b}.norm{i}.{p}'),
    (
        'backbone.layers.{s}.blocks.{b}.attn.{rest*}',
        'backbone.stages.{s}.blocks.{b}.attn.w_msa.{rest*}',
    ),
    (
        'backbone.layers.{s}.blocks.{b}.mlp.fc1.{p}',
        'backbone.stages.{s}.blocks.{b}.ffn.layers.0.0.{p}',
    ),
    (
        'backbone.layers.{s}.blocks.{b}.mlp.fc2.{p}',
        'backbone.stages.{s}.blocks.{b}.ffn.layers.1.{p}',
    ),
    (
        'backbone.layers.{s}.downsample.reduction.{p}',
        'backbone.stages.{s}.downsample.reduction.{p}',
    ),
    ('backbone.layers.{s}.downsample.norm.{p}', 'backbone.stages.{s}.downsample.norm.{p}'),
    ('backbone.norm{i}.{p}', 'backbone.norm{i}.{p}'),
]

# Four neighbouring pixels are merged by column, then row, then channel in the original; OpenMMLab
# goes by channel, then row, then column.
PATCH_MERGING = 'backbone.layers.{s}.downsample.{rest*}'

_PIXEL_DECODER, _OUR_PIXEL_DECODER = 'sem_seg_head.pixel_decoder.', 'decode_head.pixel_decoder.'
_ENCODER_LAYER = 'sem_seg_head.pixel_decoder.transformer.encoder.layers.{n}.'
_OUR_ENCODER_LAYER = 'decode_head.pixel_decoder.encoder.layers.{n}.'
_PREDICTOR = 'sem_seg_head.predictor.'
_CROSS = 'sem_seg_head.predictor.transformer_cross_attention_layers.{n}.'
_SELF = 'sem_seg_head.predictor.transformer_self_attention_layers.{n}.'
_FFN = 'sem_seg_head.predictor.transformer_ffn_layers.{n}.'
_OUR_LAYER = 'decode_head.transformer_decoder.layers.{n}.'

# What Mask2Former and FASeg share.
MASK2FORMER = [
    (_PIXEL_DECODER + 'input_proj.0.0.{p}', _OUR_PIXEL_DECODER + 'input_convs.0.conv.{p}'),
    (_PIXEL_DECODER + 'input_proj.0.1.{p}', _OUR_PIXEL_DECODER + 'input_convs.0.gn.{p}'),
    (_PIXEL_DECODER + 'input_proj.1.0.{p}', _OUR_PIXEL_DECODER + 'input_convs.1.conv.{p}'),
    (_PIXEL_DECODER + 'input_proj.1.1.{p}', _OUR_PIXEL_DECODER + 'input_convs.1.gn.{p}'),
    (_PIXEL_DECODER + 'input_proj.2.0.{p}', _OUR_PIXEL_DECODER + 'input_convs.2.conv.{p}'),
    (_PIXEL_DECODER + 'input_proj.2.1.{p}', _OUR_PIXEL_DECODER + 'input_convs.2.gn.{p}'),
    (_PIXEL_DECODER + 'transformer.level_embed', _OUR_PIXEL_DECODER + 'level_encoding.weight'),
    (_ENCODER_LAYER + 'self_attn.{rest*}', _OUR_ENCODER_LAYER + 'self_attn.{rest*}'),
    (_ENCODER_LAYER + 'norm1.{p}', _OUR_ENCODER_LAYER + 'norms.0.{p}'),
    (_ENCODER_LAYER + 'linear1.{p}', _OUR_ENCODER_LAYER + 'ffn.layers.0.0.{p}'),
    (_ENCODER_LAYER + 'linear2.{p}', _OUR_ENCODER_LAYER + 'ffn.layers.1.{p}'),
    (_ENCODER_LAYER + 'norm2.{p}', _OUR_ENCODER_LAYER + 'norms.1.{p}'),
    (_PIXEL_DECODER + 'adapter_1.weight', _OUR_PIXEL_DECODER + 'lateral_convs.0.conv.weight'),
    (_PIXEL_DECODER + 'adapter_1.norm.{p}', _OUR_PIXEL_DECODER + 'lateral_convs.0.gn.{p}'),
    (_PIXEL_DECODER + 'layer_1.weight', _OUR_PIXEL_DECODER + 'output_convs.0.conv.weight'),
    (_PIXEL_DECODER + 'layer_1.norm.{p}', _OUR_PIXEL_DECODER + 'output_convs.0.gn.{p}'),
    (_PIXEL_DECODER + 'mask_features.{p}', _OUR_PIXEL_DECODER + 'mask_feature.{p}'),
    (_PREDICTOR + 'query_feat.weight', 'decode_head.query_feat.weight'),
    (_PREDICTOR + 'static_query.weight', 'decode_head.query_feat.weight'),  # its older name
    (_PREDICTOR + 'query_embed.weight', 'decode_head.query_embed.weight'),
    (_PREDICTOR + 'level_embed.weight', 'decode_head.level_embed.weight'),
    (_CROSS + 'multihead_attn.{rest*}', _OUR_LAYER + 'cross_attn.attn.{rest*}'),
    (_CROSS + 'norm.{p}', _OUR_LAYER + 'norms.0.{p}'),
    (_SELF + 'self_attn.{rest*}', _OUR_LAYER + 'self_attn.attn.{rest*}'),
    (_SELF + 'norm.{p}', _OUR_LAYER + 'norms.1.{p}'),
    (_FFN + 'linear1.{p}', _OUR_LAYER + 'ffn.layers.0.0.{p}'),
    (_FFN + 'linear2.{p}', _OUR_LAYER + 'ffn.layers.1.{p}'),
    (_FFN + 'norm.{p}', _OUR_LAYER + 'norms.2.{p}'),
    (_PREDICTOR + 'decoder_norm.{p}', 'decode_head.transformer_decoder.post_norm.{p}'),
    (_PREDICTOR + 'class_embed.{p}', 'decode_head.cls_embed.{p}'),
    (_PREDICTOR + 'mask_embed.layers.0.{p}', 'decode_head.mask_embed.0.{p}'),
    (_PREDICTOR + 'mask_embed.layers.1.{p}', 'decode_head.mask_embed.2.{p}'),
    (_PREDICTOR + 'mask_embed.layers.2.{p}', 'decode_head.mask_embed.4.{p}'),
]

# What FASeg adds: the finest level's projection, K_p and DFPQ.
FASEG = [
    *MASK2FORMER,
    (_PIXEL_DECODER + 'input_proj.3.0.{p}', _OUR_PIXEL_DECODER + 'position_convs.0.conv.{p}'),
    (_PIXEL_DECODER + 'input_proj.3.1.{p}', _OUR_PIXEL_DECODER + 'position_convs.0.gn.{p}'),
    (
        _PIXEL_DECODER + 'pos_linear.{l}.{p}',
        _OUR_PIXEL_DECODER + 'positional_encoding.convs.{l}.{p}',
    ),
    (_PREDICTOR + 'adapt_pos2d.{i}.{p}', 'decode_head.positional_query.mlp.{i}.{p}'),
]

# MMDetection 2's ResNet, and PVTv2 by MMDetection's own conversion: as they are named today.
SAME_BACKBONE = [('backbone.{rest*}', 'backbone.{rest*}')]

_SEGFORMER = 'bbox_head.transformer.'

# Deformable DETR as MMDetection 2 named its parts, and as MMDetection 3 does.
DEFORMABLE_DETR = [
    ('neck.{rest*}', 'neck.{rest*}'),
    (_SEGFORMER + 'level_embeds', 'level_embed'),
    (_SEGFORMER + 'reference_points.{p}', 'reference_points_fc.{p}'),
    (_SEGFORMER + '{coder}.layers.{n}.ffns.0.{rest*}', '{coder}.layers.{n}.ffn.{rest*}'),
    (_SEGFORMER + '{coder}.layers.{n}.norms.{i}.{p}', '{coder}.layers.{n}.norms.{i}.{p}'),
    (
        _SEGFORMER + 'encoder.layers.{n}.attentions.0.{rest*}',
        'encoder.layers.{n}.self_attn.{rest*}',
    ),
    (
        _SEGFORMER + 'decoder.layers.{n}.attentions.0.{rest*}',
        'decoder.layers.{n}.self_attn.{rest*}',
    ),
    (
        _SEGFORMER + 'decoder.layers.{n}.attentions.1.{rest*}',
        'decoder.layers.{n}.cross_attn.{rest*}',
    ),
    ('bbox_head.query_embedding.weight', 'query_embedding.weight'),
    ('bbox_head.cls_branches.{rest*}', 'bbox_head.cls_branches.{rest*}'),
    ('bbox_head.reg_branches.{rest*}', 'bbox_head.reg_branches.{rest*}'),
]

_BLOCK, _OUR_BLOCK = 'bbox_head.{k}_mask_head.blocks.{n}.', 'bbox_head.{k}_decoder.layers.{n}.'
_TAIL, _OUR_TAIL = 'bbox_head.{k}_mask_head.attnen.', 'bbox_head.{k}_decoder.last_attn.'

# What Panoptic SegFormer adds; {k} is things or stuff.
PANOPTIC_SEGFORMER = [
    *DEFORMABLE_DETR,
    ('bbox_head.stuff_query.weight', 'bbox_head.stuff_embedding.weight'),
    ('bbox_head.cls_thing_branches.{rest*}', 'bbox_head.things_cls_branches.{rest*}'),
    ('bbox_head.cls_stuff_branches.{rest*}', 'bbox_head.stuff_cls_branches.{rest*}'),
    (_BLOCK + 'self_attention.qkv.{p}', _OUR_BLOCK + 'self_attn.in_proj_{p}'),
    (_BLOCK + 'self_attention.proj.{p}', _OUR_BLOCK + 'self_attn.out_proj.{p}'),
    (_BLOCK + 'norm3.{p}', _OUR_BLOCK + 'self_norm.{p}'),
    (_BLOCK + 'attn.v.{p}', _OUR_BLOCK + 'cross_attn.value_proj.{p}'),
    (_BLOCK + 'attn.proj.{p}', _OUR_BLOCK + 'cross_attn.out_proj.{p}'),
    (_BLOCK + 'head_norm1.{p}', _OUR_BLOCK + 'cross_norm.{p}'),
    (_BLOCK + 'mlp.fc1.{p}', _OUR_BLOCK + 'ffn.layers.0.0.{p}'),
    (_BLOCK + 'mlp.fc2.{p}', _OUR_BLOCK + 'ffn.layers.1.{p}'),
    (_BLOCK + 'head_norm2.{p}', _OUR_BLOCK + 'ffn_norm.{p}'),
    *(
        (theirs + part, ours + our_part)
        for theirs, ours in ((_BLOCK + 'attn.', _OUR_BLOCK + 'cross_attn.'), (_TAIL, _OUR_TAIL))
        for part, our_part in (
            ('q.{p}', 'query_proj.{p}'),
            ('k.{p}', 'key_proj.{p}'),
            ('linear_l1.0.{p}', 'level_projs.0.{p}'),
            ('linear_l2.0.{p}', 'level_projs.1.{p}'),
            ('linear_l3.0.{p}', 'level_projs.2.{p}'),
            ('linear.0.{p}', 'mask_proj.{p}'),
        )
    ),
]

TABLES = {
    ('FASeg', 'ResNet'): RESNET + FASEG,
    ('FASeg', 'Swin'): SWIN + FASEG,
    ('Mask2Former', 'ResNet'): RESNET + MASK2FORMER,
    ('Mask2Former', 'Swin'): SWIN + MASK2FORMER,
    ('Panoptic SegFormer', 'ResNet'): SAME_BACKBONE + PANOPTIC_SEGFORMER,
    ('Panoptic SegFormer', 'PVTv2'): SAME_BACKBONE + PANOPTIC_SEGFORMER,
    ('Panoptic SegFormer', 'Swin'): SWIN + PANOPTIC_SEGFORMER,
    ('ImageNet', 'Swin'): SWIN,
}

# Source keys that find no place, and why.
DROPPED = [
    ('criterion.empty_weight', 'class weights of the loss: the config sets them'),
    ('pixel_mean', "the image mean: the config's data_preprocessor has it"),
    ('pixel_std', "the image deviation: the config's data_preprocessor has it"),
    ('backbone.layers.{s}.blocks.{b}.attn_mask', 'made anew for every image size'),
    ('bbox_head.reg_branches2.{rest*}', 'boxes of the mask decoder: nothing uses them'),
    ('backbone.stem.fc.{p}', 'the ImageNet classifier'),
    ('backbone.norm.{p}', "the classifier's norm: the segmentor has one for each stage"),
    ('backbone.head.{p}', 'the ImageNet classifier'),
]

# Keys of ours that no released checkpoint has, and why none is needed.
NEW = [
    ('{rest*}.num_batches_tracked', 'counts training steps: starts at 0'),
]
NEW_BEHIND_IMAGENET = [
    ('backbone.norm{i}.{p}', 'norms of the stages: new in a segmentor'),
]


def look_up(rows: Iterable[tuple[str, str]], key: str) -> str | None:
    """The other side of the first row that a key fits, its fields filled in; None if none fits."""
    for template, other in rows:
        match = _pattern(template).fullmatch(key)
        if match:
            for field, text in match.groupdict().items():
                other = other.replace(f'{{{field}}}', text).replace(f'{{{field}*}}', text)
            return other
    return None


def fits(template: str, key: str) -> bool:
    """Whether a key fits one side of a row."""
    return _pattern(template).fullmatch(key) is not None


@functools.cache
def _pattern(template: str) -> re.Pattern:
    pattern = re.escape(template)
    pattern = re.sub(r'\\\{(\w+)\\\*\\\}', r'(?P<\1>.+)', pattern)
    return re.compile(re.sub(r'\\\{(\w+)\\\}', r'(?P<\1>[^.]+)', pattern))
