# Mask2Former's settings in our head, which with them is MMSegmentation's, for the sake of
# mask-piloted training.
_base_ = './mask2former.py'
model = dict(
    type='FASegSegmentor',
    decode_head=dict(
        type='FASegHead',
        pixel_decoder=dict(type='FASegPixelDecoder'),
        positional_query=dict(type='LearnedPositionalQuery'),
        high_res_attn=None,
        mask_threshold=0.5,
        mask_pilot=dict(),
    ),
)
