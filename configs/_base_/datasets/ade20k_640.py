# ADE20K, 150 classes, crops of 640.
_base_ = './ade20k.py'
crop_size = (640, 640)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoiceResize',
        scales=[640 * tenths // 10 for tenths in range(5, 21)],
        resize_type='AntialiasedResizeShortestEdge',
        max_size=2560,
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size[::-1], pad_val=dict(img=128, seg=255)),
    dict(type='PackSegInputs'),
]
test_resize = dict(type='AntialiasedResizeShortestEdge', scale=640, max_size=2560)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    test_resize,
    dict(type='LoadAnnotations'),  # after the resize: scores are compared at the original size
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    test_resize,
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='AntialiasedResizeShortestEdge', scale=scale, max_size=4480)
                for scale in (320, 480, 640, 800, 960, 1120)
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
