# A query knows the box of its last mask beside what it just looked at.
_base_ = '../faseg_toy.py'
model = dict(decode_head=dict(positional_query=dict(mask_box=True)))
