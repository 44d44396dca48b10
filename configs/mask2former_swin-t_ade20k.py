# The baseline of faseg_swin-t_ade20k.py: the same backbone, data and schedule.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/mask2former.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k.py',
]
num_classes = 150
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/swin_tiny_patch4_window7_224_20220317-1cdeb081.pth'  # noqa: E501
model = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='SwinTransformer',
        pretrain_img_size=224,
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(
        in_channels=[96, 192, 384, 768],
        num_classes=num_classes,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
)
