# FASeg, ResNet-50, Cityscapes. Reported: 80.5 mIoU.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_r50.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/cityscapes_90k.py',
]
model = dict(
    backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False),
    decode_head=dict(num_classes=19),
)
