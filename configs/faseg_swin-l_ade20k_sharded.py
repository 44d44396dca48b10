# faseg_swin-l_ade20k.py for GPUs that are too small for it: they share parameters, gradients and
# optimizer states (docs/training.md). bfloat16 needs no loss scale, which would need them whole.
_base_ = './faseg_swin-l_ade20k.py'
runner_type = 'ShardedRunner'
optim_wrapper = dict(dtype='bfloat16', loss_scale=dict(_delete_=True, enabled=False))
model = dict(backbone=dict(with_cp=True))
