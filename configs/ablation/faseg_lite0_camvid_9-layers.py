# As many layers as Mask2Former: two rounds over four levels, and level 0 again.
_base_ = '../faseg_lite0_camvid.py'
model = dict(decode_head=dict(transformer_decoder=dict(num_layers=9)))
