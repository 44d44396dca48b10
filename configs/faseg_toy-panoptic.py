# FASeg on toy scenes, panoptic, small enough for minutes on two CPU cores: `make demo-panoptic`.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/faseg_toy.py',
    './_base_/datasets/toy_scenes-panoptic.py',
    './_base_/schedules/toy.py',
]
model = dict(
    panoptic_head=dict(
        num_things_classes=5,
        num_stuff_classes=3,
        num_queries=40,
        transformer_decoder=dict(num_layers=9),  # two rounds over four levels, and level 0 again
    ),
)
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
