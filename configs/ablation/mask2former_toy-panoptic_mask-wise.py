# In our head and detector, which with these settings are MMDetection's: its weights fit.
_base_ = '../mask2former_toy-panoptic.py'
model = dict(
    type='FASegDetector',
    panoptic_fusion_head=None,
    panoptic_head=dict(
        type='FASegPanopticHead',
        pixel_decoder=dict(type='FASegPixelDecoder'),
        positional_query=dict(type='LearnedPositionalQuery'),
        high_res_attn=None,
        mask_threshold=0.5,
    ),
    test_cfg=dict(_delete_=True, panoptic_on=True, instance_on=True, merging='mask-wise'),
)
