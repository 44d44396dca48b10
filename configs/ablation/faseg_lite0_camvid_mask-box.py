# A query knows the box of its last mask beside what it just looked at.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(positional_query=dict(mask_box=True)))
