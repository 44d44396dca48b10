# The baseline of faseg-own-data_lite0_nuclei-instance.py: the same recipe.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/mask2former-own-data_lite0.py',
    './_base_/datasets/nuclei-instance.py',
    './_base_/schedules/own_data.py',
]
num_things_classes = 1
num_stuff_classes = 0
positional_encoding = dict(num_feats=64, normalize=True)
model = dict(
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        num_queries=100,
        pixel_decoder=dict(positional_encoding=positional_encoding),
        positional_encoding=positional_encoding,
        loss_cls=dict(class_weight=[1.0] * (num_things_classes + num_stuff_classes) + [0.1]),
    ),
    test_cfg=dict(panoptic_on=False),
)
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
