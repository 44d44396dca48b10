# HRCA attends to the best pixels of the resized focus, as in the paper.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(high_res_attn=dict(region='pixel')))
