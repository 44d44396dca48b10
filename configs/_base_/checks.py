# What is looked at before training time is spent: the data, and a checkpoint to start from.
custom_hooks = [dict(type='DataCheckHook'), dict(type='CheckpointCheckHook')]
