# FASeg on nuclei: panoptic, from an ImageNet backbone, small enough for two CPU cores.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/faseg_lite0.py',
    './_base_/datasets/nuclei-panoptic.py',
    './_base_/schedules/finetune_1500.py',
]
model = dict(
    panoptic_head=dict(num_things_classes=1, num_stuff_classes=1, num_queries=100),
)
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
