# The baseline of faseg_swin-t_ade20k.py: the same backbone, data and schedule.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/mask2former_swin-t.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k.py',
]
num_classes = 150
model = dict(
    decode_head=dict(
        num_classes=num_classes,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
)
