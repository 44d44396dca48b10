# The paper's options where the released code differs: foreground, pixels, dynamic queries.
_base_ = '../faseg_lite0_camvid.py'
model = dict(
    decode_head=dict(
        positional_query=dict(first_region='foreground'),
        high_res_attn=dict(region='pixel', query_pos='dynamic'),
    ),
)
