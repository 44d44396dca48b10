# The baseline of faseg_r50_ade20k-panoptic.py: the same backbone, data and schedule.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/mask2former_r50.py',
    './_base_/datasets/ade20k-panoptic.py',
    './_base_/schedules/ade20k_160k.py',
]
num_things_classes = 100
num_stuff_classes = 50
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
default_hooks = dict(
    visualization=dict(type='DetVisualizationHook'),
    checkpoint=dict(save_best='coco_panoptic/PQ'),
)
