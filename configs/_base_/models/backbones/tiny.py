# ResNet-18, from random weights, with the decode head of lite0.py.
_base_ = './lite0.py'
backbone_settings = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=None,
    ),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
)
