# FASeg, Swin-L, ADE20K. Reported: 56.3 mIoU, 57.7 multi-scale.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_swin-l.py',
    './_base_/datasets/ade20k_640.py',
    './_base_/schedules/ade20k_160k.py',
]
model = dict(decode_head=dict(num_classes=150))
# The released Swin-L is tested on the scales of the models with crops of 512.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='AntialiasedResizeShortestEdge', scale=640, max_size=2560),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='AntialiasedResizeShortestEdge', scale=scale, max_size=3584)
                for scale in (256, 384, 512, 640, 768, 896)
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
