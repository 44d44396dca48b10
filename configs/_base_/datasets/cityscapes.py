# Cityscapes, 19 classes, crops of 512 x 1024. Another place than the default:
# CITYSCAPES_ROOT=/path.
_base_ = 'mmseg::_base_/datasets/cityscapes.py'
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}'
crop_size = (512, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoiceResize',
        scales=[1024 * tenths // 10 for tenths in range(5, 21)],
        resize_type='AntialiasedResizeShortestEdge',
        max_size=4096,
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_resize = dict(type='AntialiasedResizeShortestEdge', scale=1024, max_size=2048)
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
                dict(type='AntialiasedResizeShortestEdge', scale=scale, max_size=4096)
                for scale in (512, 768, 1024, 1280, 1536, 1792)
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
# Do the workers keep up with a GPU? docs/data.md says how to find out.
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(pin_memory=True, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
