# FASeg, ResNet-50, ADE20K panoptic. Not trained yet.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/faseg_r50.py',
    './_base_/datasets/ade20k-panoptic.py',
    './_base_/schedules/ade20k_160k.py',
]
model = dict(
    data_preprocessor=dict(batch_augments={{_base_.batch_augments}}),
    panoptic_head=dict(num_things_classes=100, num_stuff_classes=50),
)
default_hooks = dict(
    visualization=dict(type='DetVisualizationHook'),
    checkpoint=dict(save_best='coco_panoptic/PQ'),
)
