# As coco_12e.py, twice as long: Panoptic SegFormer's '2x'.
_base_ = './coco_12e.py'
epoch = 14_786
max_iters = 24 * epoch
param_scheduler = [
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[18 * epoch],
        gamma=0.1,
    )
]
train_cfg = dict(max_iters=max_iters)
