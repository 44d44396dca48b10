# Toy scenes of toy_scenes.py, panoptic: 5 classes of things, then 3 of stuff. Their files lie in a
# folder that the data set names; those of annotations end in the number of images.
data_root = 'data/toy_scenes'
folder = 'edition1_seed0_size128'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ToyPanopticDataset',
        data_root=data_root,
        split='train',
        num_images=400,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ToyPanopticDataset',
        data_root=data_root,
        split='val',
        num_images=100,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='CocoPanopticMetric',
        ann_file=f'{data_root}/{folder}/panoptic_val_100.json',
        seg_prefix=f'{data_root}/{folder}/panoptic/val',
    ),
    dict(
        type='CocoMetric',
        ann_file=f'{data_root}/{folder}/instances_val_100.json',
        metric='segm',
    ),
    dict(
        type='SemanticMetrics',
        metrics=[
            dict(type='IoUMetric'),
            dict(type='BoundaryIoUMetric'),
            dict(type='SizeIoUMetric'),
        ],
    ),
]
test_evaluator = val_evaluator
