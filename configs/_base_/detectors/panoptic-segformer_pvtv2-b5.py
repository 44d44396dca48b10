# PVTv2-B5, pre-trained on ImageNet-22k.
_base_ = './methods/panoptic-segformer.py'
checkpoint = 'https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b5_22k.pth'
model = dict(
    backbone=dict(
        type='PyramidVisionTransformerV2',
        embed_dims=64,
        num_layers=[3, 6, 40, 3],
        mlp_ratios=(4, 4, 4, 4),
        drop_path_rate=0.1,
        out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[128, 320, 512]),
    test_cfg=dict(quality_thr=0.3),
)
