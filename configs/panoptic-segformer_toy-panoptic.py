# Panoptic SegFormer beside faseg_toy-panoptic.py: the same backbone, data, seed and iterations. All
# four stages of the backbone, where published models leave the finest out: masks are as fine as
# FASeg's then, and at 1/8 scale a ball is one pixel.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/panoptic-segformer_toy.py',
    './_base_/datasets/toy_scenes-panoptic.py',
    './_base_/schedules/toy.py',
]
model = dict(
    num_queries=100,
    encoder=dict(num_layers=2),
    decoder=dict(num_layers=3),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(
        num_things_classes=5,
        num_stuff_classes=3,
        things_decoder=dict(num_layers=2),
        stuff_decoder=dict(num_layers=3),
    ),
    train_cfg=dict(queries_per_thing=1),
)
# Learning rate, decay and clipping in the proportions of the paper's settings.
optim_wrapper = dict(
    optimizer=dict(lr=1.4e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1),
    paramwise_cfg=dict(
        custom_keys=dict(
            sampling_offsets=dict(lr_mult=0.1),
            reference_points=dict(lr_mult=0.1),
        )
    ),
)
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
