# The baseline of faseg_r18_camvid.py: the same backbone, data, seed and schedule.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/mask2former_r18.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/scratch_1500.py',
]
num_classes = 11
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    decode_head=dict(
        num_classes=num_classes,
        num_queries=50,
        pixel_decoder=dict(encoder=dict(num_layers=3)),
        train_cfg=dict(num_points=4096),
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
)
