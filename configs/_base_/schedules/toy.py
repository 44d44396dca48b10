# Minutes on two CPU cores: as scratch_1500.py, but shorter and steeper, with a warm-up.
_base_ = ['./scratch_1500.py']
max_iters = 500
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    checkpoint=dict(
        _delete_=True, type='CheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=1
    )
)
auto_scale_lr = dict(base_batch_size=8)
