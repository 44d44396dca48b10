# FASeg from scratch on CamVid, small enough for two CPU cores.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/scratch_1500.py',
]
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=None,
    ),
    decode_head=dict(
        in_channels=[64, 128, 256, 512],
        num_classes=11,
        num_queries=50,
        pixel_decoder=dict(encoder=dict(num_layers=3)),
        train_cfg=dict(num_points=4096),
    ),
)
