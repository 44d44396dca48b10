# The nuclei of nuclei-instance.py, panoptic: nuclei are things, background is stuff.
_base_ = './nuclei-instance.py'
data_root = '{{$NUCLEI_ROOT:data/nuclei}}'
crop_size = (256, 256)
scale = (512, 512)  # twice as large: nearly half of the nuclei are less than 13 pixels wide
metainfo = dict(
    classes=('nucleus', 'background'),
    thing_classes=('nucleus',),
    stuff_classes=('background',),
    palette=[(220, 20, 60), (90, 90, 90)],
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticAnnotations'),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='RandomResize', scale=scale, ratio_range=(0.8, 1.6), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), by_mask=True, keep_empty=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    dataset=dict(
        type='CocoPanopticDataset',
        metainfo=metainfo,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(seg='annotations/panoptic_train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='CocoPanopticDataset',
        metainfo=metainfo,
        ann_file='annotations/panoptic_val.json',
        data_prefix=dict(seg='annotations/panoptic_val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='CocoPanopticMetric',
        ann_file=f'{data_root}/annotations/panoptic_val.json',
        seg_prefix=f'{data_root}/annotations/panoptic_val',
    ),
    dict(type='CocoMetric', ann_file=f'{data_root}/annotations/instances_val.json', metric='segm'),
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
