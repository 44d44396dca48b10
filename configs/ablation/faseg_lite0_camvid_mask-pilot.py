# Mask-piloted training (MP-Former).
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(mask_pilot=dict()))
