# FASeg, Swin-T, ADE20K. Reported: 49.6 mIoU, 51.3 multi-scale.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_swin-t.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k.py',
]
model = dict(decode_head=dict(num_classes=150))
