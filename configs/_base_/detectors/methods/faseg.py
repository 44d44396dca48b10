# FASeg for instances and panoptic segments: differs from Mask2Former as in models/methods/faseg.py.
_base_ = './mask2former.py'
model = dict(
    type='FASegDetector',
    panoptic_fusion_head=None,
    panoptic_head=dict(
        type='FASegPanopticHead',
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
