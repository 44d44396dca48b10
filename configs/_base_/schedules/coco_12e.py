# 12 epochs of COCO with 8 images in all: 8 GPUs with 1 image each; as Panoptic SegFormer's '1x'.
_base_ = './coco_50e.py'
epoch = 14_786
max_iters = 12 * epoch
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.4e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(
        custom_keys=dict(
            backbone=dict(lr_mult=0.1),
            sampling_offsets=dict(lr_mult=0.1),
            reference_points=dict(lr_mult=0.1),
        )
    ),
)
param_scheduler = [
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[8 * epoch],
        gamma=0.1,
    )
]
train_cfg = dict(max_iters=max_iters, val_interval=epoch)
default_hooks = dict(checkpoint=dict(interval=epoch))
auto_scale_lr = dict(enable=False, base_batch_size=8)
