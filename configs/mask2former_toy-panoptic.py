# The baseline of faseg_toy-panoptic.py: the same backbone, data, seed and schedule.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/mask2former_toy.py',
    './_base_/datasets/toy_scenes-panoptic.py',
    './_base_/schedules/toy.py',
]
num_things_classes = 5
num_stuff_classes = 3
positional_encoding = dict(num_feats=64, normalize=True)
model = dict(
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        num_queries=40,
        pixel_decoder=dict(positional_encoding=positional_encoding),
        transformer_decoder=dict(num_layers=6),
        positional_encoding=positional_encoding,
        loss_cls=dict(class_weight=[1.0] * (num_things_classes + num_stuff_classes) + [0.1]),
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
)
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
