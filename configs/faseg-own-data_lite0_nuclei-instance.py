# faseg_lite0_nuclei-instance.py as one trains on data of one's own (docs/own_data.md).
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/faseg-own-data_lite0.py',
    './_base_/datasets/nuclei-instance.py',
    './_base_/schedules/own_data.py',
]
model = dict(
    panoptic_head=dict(num_things_classes=1, num_stuff_classes=0, num_queries=100),
    test_cfg=dict(panoptic_on=False),
)
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
