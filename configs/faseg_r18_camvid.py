# FASeg from scratch on CamVid, small enough for two CPU cores.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_r18.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/scratch_1500.py',
]
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    decode_head=dict(
        num_classes=11,
        num_queries=50,
        pixel_decoder=dict(encoder=dict(num_layers=3)),
        train_cfg=dict(num_points=4096),
    ),
)
