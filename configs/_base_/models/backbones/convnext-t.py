# MMPretrain's ConvNeXt-T, pre-trained on ImageNet-1k at 224.
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'  # noqa: E501
backbone_settings = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=[0, 1, 2, 3],
        drop_path_rate=0.3,
        gap_before_final_norm=False,  # feature maps, not vectors
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
)
