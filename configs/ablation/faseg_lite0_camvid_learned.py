# No DFPQ: Mask2Former's learned positional queries.
_base_ = '../faseg_lite0_camvid.py'
model = dict(
    decode_head=dict(positional_query=dict(_delete_=True, type='LearnedPositionalQuery')),
)
