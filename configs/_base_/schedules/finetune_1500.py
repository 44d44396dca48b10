# Fine-tuning a pre-trained backbone, as long as two CPU cores have patience: the rules of the long
# schedules, a larger learning rate.
_base_ = './scratch_1500.py'
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    constructor='FASegOptimWrapperConstructor',
    paramwise_cfg=dict(backbone_lr_mult=0.1),
)
default_hooks = dict(
    checkpoint=dict(
        _delete_=True, type='CheckpointHook', by_epoch=False, interval=250, max_keep_ckpts=1
    )
)
