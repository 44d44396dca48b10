# Anchors in place of DFPQ: a query's position is the box of its last mask.
_base_ = '../faseg_toy.py'
model = dict(
    decode_head=dict(positional_query=dict(_delete_=True, type='AnchorPositionalQuery')),
)
