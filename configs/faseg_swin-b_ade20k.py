# FASeg, Swin-B, ADE20K. Reported: 55.0 mIoU, 56.0 multi-scale.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_swin-b.py',
    './_base_/datasets/ade20k_640.py',
    './_base_/schedules/ade20k_160k.py',
]
model = dict(decode_head=dict(num_classes=150))
