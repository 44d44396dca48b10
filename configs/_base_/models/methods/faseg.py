# FASeg: what differs from Mask2Former. A backbone's file adds the backbone and its `in_channels`, a
# config the number of classes, which is set nowhere else than in `model.decode_head.num_classes`.
_base_ = ['./mask2former.py']
model = dict(
    type='FASegSegmentor',
    decode_head=dict(
        type='FASegHead',
        num_transformer_feat_level=4,
        pixel_decoder=dict(type='FASegPixelDecoder'),
        transformer_decoder=dict(num_layers=13),
        positional_encoding=dict(type='ConditionalPositionalEncoding'),
        positional_query=dict(type='DynamicFocusPositionalQuery', first_region='background'),
        high_res_attn=dict(
            type='HighResolutionCrossAttention',
            region='block',
            ratio=1 / 32,
            query_pos='learned',
        ),
        mask_threshold=0.15,
    ),
)
