# FASeg on CamVid from an ImageNet backbone that needs no download, small enough for two CPU cores.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_lite0.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/finetune_1500.py',
]
model = dict(data_preprocessor=dict(size=(256, 256)), decode_head=dict(num_classes=11))
