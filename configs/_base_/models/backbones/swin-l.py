# Swin-L, pre-trained on ImageNet-22k at 384.
_base_ = './swin-b.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/swin_large_patch4_window12_384_22k_20220412-6580f57d.pth'  # noqa: E501
backbone_settings = dict(
    backbone=dict(
        embed_dims=192,
        num_heads=[6, 12, 24, 48],
        init_cfg=dict(checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
)
