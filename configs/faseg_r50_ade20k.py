# FASeg, ResNet-50, ADE20K. Reported: 48.3 mIoU, 49.3 multi-scale.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_r50.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k.py',
]
model = dict(decode_head=dict(num_classes=150))
