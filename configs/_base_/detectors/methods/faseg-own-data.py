# FASeg for few images and short schedules: as models/methods/faseg-own-data.py.
_base_ = './faseg.py'
model = dict(
    panoptic_head=dict(
        positional_query=dict(first_region='foreground'),
        high_res_attn=dict(region='pixel', query_pos='dynamic'),
        transformer_decoder=dict(num_layers=9),
        mask_pilot=dict(),
    ),
)
