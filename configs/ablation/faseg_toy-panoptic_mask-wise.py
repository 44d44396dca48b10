# Masks are laid down whole; for tests of weights of its base.
_base_ = '../faseg_toy-panoptic.py'
model = dict(
    test_cfg=dict(_delete_=True, panoptic_on=True, instance_on=True, merging='mask-wise'),
)
