# K_p: Mask2Former's sinusoid.
_base_ = '../faseg_lite0_camvid.py'
model = dict(
    decode_head=dict(
        positional_encoding=dict(
            _delete_=True, type='mmdet.SinePositionalEncoding', num_feats=64, normalize=True
        ),
    ),
)
