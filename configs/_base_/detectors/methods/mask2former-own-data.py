# Mask2Former's settings in our head and detector, for the sake of mask-piloted training: as
# models/methods/mask2former-own-data.py.
_base_ = './mask2former.py'
model = dict(
    type='FASegDetector',
    panoptic_fusion_head=None,
    panoptic_head=dict(
        type='FASegPanopticHead',
        pixel_decoder=dict(type='FASegPixelDecoder'),
        positional_query=dict(type='LearnedPositionalQuery'),
        high_res_attn=None,
        mask_threshold=0.5,
        mask_pilot=dict(),
    ),
)
