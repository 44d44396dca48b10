# No HRCA: its layers go, and the level that only they visit; 13 layers become ten.
_base_ = '../faseg_lite0_camvid.py'
model = dict(
    decode_head=dict(
        num_transformer_feat_level=3,
        high_res_attn=None,
        transformer_decoder=dict(num_layers=10),
    ),
)
