# Each pixel goes to the best mask; for tests of weights of its base.
_base_ = '../panoptic-segformer_toy-panoptic.py'
model = dict(
    test_cfg=dict(_delete_=True, panoptic_on=True, instance_on=True, merging='argmax'),
)
