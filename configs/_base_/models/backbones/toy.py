# Half of a ResNet-18's width, and a decode head to match, small enough for two CPU cores.
_base_ = './r18.py'
width = 128
attention = dict(embed_dims=width, num_heads=8)
ffn = dict(embed_dims=width, feedforward_channels=2 * width)
backbone_settings = dict(
    backbone=dict(base_channels=32),
    decode_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=width,
        out_channels=width,
        num_queries=20,
        pixel_decoder=dict(
            encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        ),
        transformer_decoder=dict(
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        ),
        train_cfg=dict(num_points=2048),
    ),
)
