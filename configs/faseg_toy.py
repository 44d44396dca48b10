# FASeg small enough to learn toy scenes in minutes on two CPU cores: `make demo`.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg.py',
    './_base_/datasets/toy_scenes.py',
    './_base_/schedules/toy.py',
]
width = 128
attention = dict(embed_dims=width, num_heads=8)
ffn = dict(embed_dims=width, feedforward_channels=2 * width)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=32,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=None,
    ),
    decode_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=width,
        out_channels=width,
        num_classes=8,
        num_queries=20,
        pixel_decoder=dict(
            encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        ),
        transformer_decoder=dict(
            num_layers=9,  # two rounds over the four levels, and level 0 once more
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        ),
        train_cfg=dict(num_points=2048),
    ),
)
