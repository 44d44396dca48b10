# The first positional query pools over the predicted foreground, as in the paper.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(positional_query=dict(first_region='foreground')))
