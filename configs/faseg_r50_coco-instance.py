# FASeg, ResNet-50, COCO instances. Not trained yet.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/faseg_r50.py',
    './_base_/datasets/coco-instance.py',
    './_base_/schedules/coco_50e.py',
]
model = dict(
    data_preprocessor=dict(batch_augments={{_base_.batch_augments}}),
    panoptic_head=dict(num_things_classes=80, num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False),
)
