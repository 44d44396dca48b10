# FASeg, Swin V2-B of timm, ADE20K. Not in the paper, not trained yet.
# Its weights are under MIT.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_swinv2-b.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k.py',
]
model = dict(decode_head=dict(num_classes=150))
