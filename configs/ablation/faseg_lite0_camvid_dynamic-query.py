# HRCA's queries have the dynamic position, as in the paper.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(high_res_attn=dict(query_pos='dynamic')))
