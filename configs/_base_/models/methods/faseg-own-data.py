# FASeg for few images and short schedules: the paper's options where the released code differs,
# as many layers as Mask2Former, and mask-piloted training.
_base_ = './faseg.py'
model = dict(
    decode_head=dict(
        positional_query=dict(first_region='foreground'),
        high_res_attn=dict(region='pixel', query_pos='dynamic'),
        transformer_decoder=dict(num_layers=9),
        mask_pilot=dict(),
    ),
)
