# FASeg, ConvNeXt-T of MMPretrain, ADE20K. Not in the paper.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_convnext-t.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k.py',
]
custom_imports = dict(imports=['mmseg_faseg', 'mmpretrain.models'], allow_failed_imports=False)
model = dict(decode_head=dict(num_classes=150))
