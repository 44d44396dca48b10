# Before training time is spent: what will run is said, and the data and a checkpoint to start from
# are looked at.
custom_hooks = [
    dict(type='RunStartHook'),
    dict(type='DataCheckHook'),
    dict(type='CheckpointCheckHook'),
]
