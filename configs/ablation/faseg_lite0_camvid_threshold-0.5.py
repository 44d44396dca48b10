# A layer attends where the last mask is at least 0.5, as in Mask2Former.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(mask_threshold=0.5))
