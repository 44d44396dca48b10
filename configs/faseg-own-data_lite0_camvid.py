# faseg_lite0_camvid.py as one trains on data of one's own (docs/own_data.md).
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg-own-data_lite0.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/own_data.py',
]
model = dict(data_preprocessor=dict(size=(256, 256)), decode_head=dict(num_classes=11))
