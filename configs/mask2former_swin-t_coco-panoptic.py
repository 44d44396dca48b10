# The baseline of faseg_swin-t_coco-panoptic.py: the same backbone, data and schedule.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/mask2former_swin-t.py',
    './_base_/datasets/coco-panoptic.py',
    './_base_/schedules/coco_50e.py',
]
num_things_classes = 80
num_stuff_classes = 53
model = dict(
    data_preprocessor=dict(batch_augments={{_base_.batch_augments}}),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        loss_cls=dict(class_weight=[1.0] * (num_things_classes + num_stuff_classes) + [0.1]),
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
)
