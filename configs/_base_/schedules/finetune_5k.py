# Fine-tuning from a trained model: the rules of the long schedules, fewer iterations.
_base_ = './ade20k_160k.py'
max_iters = 5_000
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=1000))
