# 50 epochs of COCO with 16 images in all: 8 GPUs with 2 images each; as Mask2Former.
_base_ = './ade20k_160k.py'
max_iters = 368_750
param_scheduler = [
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[327_778, 355_092],
        gamma=0.1,
    )
]
train_cfg = dict(max_iters=max_iters, val_interval=5000)
default_hooks = dict(
    checkpoint=dict(
        _delete_=True, type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3
    ),
    visualization=dict(type='DetVisualizationHook'),
)
