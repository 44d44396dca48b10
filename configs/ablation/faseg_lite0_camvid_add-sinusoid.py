# K_p: the conditional encoding and Mask2Former's sinusoid, added up.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(positional_encoding=dict(add_sinusoid=True)))
