# ResNet-50; batch norm keeps ImageNet's statistics and weights, nothing else is frozen.
backbone_settings = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
)
